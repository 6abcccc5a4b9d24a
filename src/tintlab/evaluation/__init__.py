"""Figures of a colorizer: metrics, the judge network, and the decision between two models."""

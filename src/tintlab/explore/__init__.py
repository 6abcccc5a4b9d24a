"""Explore a trained generator: its noise, directions in the noise, single units, the effect of contrast."""

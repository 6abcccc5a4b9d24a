"""A trained model in use: a photograph in, its colours out."""

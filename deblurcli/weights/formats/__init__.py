"""Formats of weights: what the networks' authors published, and differences from registered weights."""

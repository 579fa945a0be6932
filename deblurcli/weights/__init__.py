"""Weights: what there is (`registry`), where it lies (`store`), and how it becomes a network (`load`, `choose`)."""

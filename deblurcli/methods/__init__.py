"""The adaptation methods."""

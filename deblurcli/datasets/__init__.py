"""Pair data on disk: datasets as they are published, folders of pairs, and their clips."""

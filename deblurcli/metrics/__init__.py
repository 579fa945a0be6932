"""Measures of quality: against a reference, without one, and from frame to frame."""

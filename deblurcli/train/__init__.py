"""Training: material and crops, recipes of the stages, the loop."""

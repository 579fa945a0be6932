"""Training the networks: material and crops, the loop, the stages."""

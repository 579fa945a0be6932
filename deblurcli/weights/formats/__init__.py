"""Files of weights as others publish them, and differences from registered ones."""

"""What the commands do: one file for each, batches, and the worker that keeps networks."""

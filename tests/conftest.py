"""Settings of the whole suite."""

import torch

# Small tensors on a busy machine: threads that wait for each other cost more than they bring.
torch.set_num_threads(1)

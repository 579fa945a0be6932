"""Settings of the whole suite."""

import sys
from pathlib import Path

import torch

# The benchmarks are a package of the repository, not of the tool.
sys.path.append(str(Path(__file__).parents[1]))

# Small tensors on a busy machine: threads that wait for each other cost more than they bring.
torch.set_num_threads(1)

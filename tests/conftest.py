"""Settings of the whole suite."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from deblurcli.media.scheduling import real_time

# The benchmarks are a package of the repository, not of the tool.
sys.path.append(str(Path(__file__).parents[1]))

# Small tensors on a busy machine: threads that wait for each other cost more than they bring.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _scheduling() -> Iterator[None]:
    """No test leaves the suite, and all that it starts, in real time: that can stop the machine."""
    yield
    assert sys.platform != "linux" or not real_time()

"""Chains of networks and tasks that a test can afford, in this process or in two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import place

from deblurcli import api
from deblurcli.networks import NETWORKS
from deblurcli.options.recipes import META_STAGE
from deblurcli.train.stages import meta

SMALL: dict[str, dict[str, Any]] = {
    "video-unet": {"frames": 3, "steps": [0.5, 1.0], "width": 16, "deep_width": 16, "blocks": [0, 1, 1]},
    "blur-mixture": {"width": 16},
}
TASKS = {"task_size": 128, "patches": 2, "patch_size": 64, "inner_steps": 2}


@contextmanager
def quick() -> Iterator[None]:
    """While it lasts, new networks and the tasks of meta-training are small, and one task is scored."""
    with pytest.MonkeyPatch.context() as patch:
        for name, config in SMALL.items():
            patch.setitem(NETWORKS, name, replace(NETWORKS[name], config=config))
        patch.setattr(meta, "VALIDATION_TASKS", 1)
        regime, defaults = META_STAGE["ours"]
        patch.setitem(META_STAGE, "ours", (regime, defaults | TASKS))
        yield


def train(rank: int, folder: str, keywords: dict[str, Any], port: int) -> None:
    """One of two processes that train a chain together, and the summary that it is told."""
    place(rank, port)
    torch.set_num_threads(1)
    with quick():
        summary = api.train_chain(**keywords)
    Path(folder, str(rank)).write_text(json.dumps(summary))

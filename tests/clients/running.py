"""Rows of the suite, two at a time, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.clients.judge import Verdict, judged
from tests.clients.making import Unmakeable, clips_folder, make
from tests.clients.matrix import Row
from tests.clients.product import identity_network, restored

Task = TypeVar("Task")
PROCESSES = int(os.environ.get("DEBLUR_CLIENTS_PROCESSES", "2"))
_NETWORKS: list[Path] = []


def network() -> Path:
    """The identity network, made once for each process."""
    if not _NETWORKS:
        import torch

        torch.set_num_threads(1)
        _NETWORKS.append(identity_network(Path(tempfile.mkdtemp(prefix="deblur-clients-"))))
    return _NETWORKS[0]


def judge_row(row: Row) -> Verdict:
    """Make a clip, send it through, compare."""
    try:
        source = make(row.clip, clips_folder())
    except Unmakeable as refusal:
        return Verdict(row.name, unmakeable=str(refusal))
    with tempfile.TemporaryDirectory(prefix="deblur-clients-") as folder:
        result = Path(folder) / f"{source.stem}.{row.output}"
        return judged(row.name, source, result, restored("video", source, result, network()))


@contextmanager
def running(judge: Callable[[Task], Verdict], tasks: Sequence[Task]) -> Iterator[dict[Task, Future[Verdict]]]:
    """All tasks begun, in their order."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        futures = {task: pool.submit(judge, task) for task in tasks}
        try:
            yield futures
        finally:
            pool.shutdown(cancel_futures=True)
            if _NETWORKS:
                shutil.rmtree(_NETWORKS[0].parent, ignore_errors=True)

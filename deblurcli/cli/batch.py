"""What `deblur video` and `deblur image` do with their batches: which inputs, and by how many processes."""

from __future__ import annotations

import gc
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from deblurcli.cli.inputs import Outputs
from deblurcli.console import Reporter
from deblurcli.errors import UsageError
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.engine import Engine, Here, Job
from deblurcli.jobs.lists import all_inputs
from deblurcli.jobs.plan import Plan, plan
from deblurcli.jobs.remote import with_addresses
from deblurcli.jobs.shards import shard_of
from deblurcli.media.inputs import STDIN, STDOUT, Medium
from deblurcli.options.batch import BatchOptions
from deblurcli.options.compute import ComputeOptions


def planned_batch(
    inputs: Sequence[str] | None,
    outputs: Outputs,
    batch: BatchOptions,
    medium: Medium,
    written: Collection[str],
    dry: bool = False,
) -> Plan:
    """The plan of a command: of its inputs and those of its list, the share that it does. Raises DeblurError."""
    shard = None if batch.shard is None else shard_of(batch.shard, os.environ)
    listed = all_inputs(inputs, batch.files_from)
    planned = replace(plan(listed, outputs.output, medium, written, outputs.recursive, shard), dry=dry)
    if batch.cluster is not None and any(STDIN in pair or STDOUT in pair for pair in planned.pairs):
        raise UsageError("--cluster with a pipe, which other machines do not have", "leave it out, or give a file")
    return planned


def restore(
    jobs: Sequence[Job], planned: Plan, compute: ComputeOptions, batch: BatchOptions, console: Reporter
) -> None:
    """Do the jobs, in this process or in several. Raises DeblurError: the code that the command ends with.

    What is only planned is planned here, and neither report nor list is written.
    """
    if planned.dry:
        batch = replace(batch, workers="1", report=None, failed=None)
    jobs = with_addresses(jobs)
    gc.freeze()  # modules stay: what collects garbage later need not look through them each time
    run_batch(jobs, planned, engine_for(len(jobs), compute, batch, console), console, batch)


def engine_for(count: int, compute: ComputeOptions, batch: BatchOptions, console: Reporter) -> Engine:
    """What runs so many jobs. Raises DeviceError: the device is not present."""
    from deblurcli.device import graphics_cards, usual_threads
    from deblurcli.jobs.cluster import Cluster
    from deblurcli.jobs.pool import Pool, new_worker
    from deblurcli.restore.worker import Worker

    if not count:
        return Pool((), 1)

    # OMP_NUM_THREADS is a number for each process wherever it is set.
    told = "OMP_NUM_THREADS" in os.environ
    if batch.cluster is not None:
        make, cores = partial(partial, new_worker, compute), usual_threads() if told else None
        on_cards, number = compute.device in ("auto", "cuda"), "auto" if batch.workers == "1" else batch.workers
        return Cluster(batch.cluster, count, number, make, cards=on_cards, threads=cores)
    cards = graphics_cards(compute.device) if batch.workers != "1" else 0
    workers = min(count, max(cards, 1) if batch.workers == "auto" else int(batch.workers))
    if workers < 2:
        return Here(Worker(compute, console))
    places = [replace(compute, device=f"cuda:{number % cards}") if cards else compute for number in range(workers)]
    sharers = -(-workers // max(cards, 1))
    threads = usual_threads() if told else max(usual_threads() // workers, 1)
    return Pool([partial(new_worker, place, sharers) for place in places], threads)

"""By how many processes a batch is done, where each computes, and with how many threads."""

from __future__ import annotations

import pytest

from deblurcli import device
from deblurcli.cli.batch import engine_for
from deblurcli.console import Reporter
from deblurcli.jobs.cluster import Cluster
from deblurcli.jobs.engine import Here
from deblurcli.jobs.pool import Pool
from deblurcli.options.batch import BatchOptions
from deblurcli.options.compute import ComputeOptions


@pytest.fixture
def machine(monkeypatch):
    """Sets the cards and threads of this machine."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def has(cards: int, threads: int) -> None:
        monkeypatch.setattr(device, "graphics_cards", lambda name: cards if name in ("auto", "cuda") else 0)
        monkeypatch.setattr(device, "usual_threads", lambda: threads)

    return has


@pytest.mark.parametrize(
    ("cards", "asked", "workers", "places", "sharers", "threads"),
    [
        (0, "auto", "3", ["auto"] * 3, 3, 2),
        (2, "auto", "auto", ["cuda:0", "cuda:1"], 1, 4),
        (2, "cuda", "3", ["cuda:0", "cuda:1", "cuda:0"], 2, 2),
        (1, "auto", "2", ["cuda:0", "cuda:0"], 2, 4),
        (2, "cuda:1", "2", ["cuda:1", "cuda:1"], 2, 4),
        (2, "cpu", "8", ["cpu"] * 5, 5, 1),
    ],
)
def test_processes_share_cards_memory_and_threads(machine, cards, asked, workers, places, sharers, threads):
    """Five files, 8 threads: never more processes than files."""
    machine(cards, 8)
    engine = engine_for(5, ComputeOptions(device=asked), BatchOptions(workers=workers), Reporter.silent())
    assert isinstance(engine, Pool) and engine.threads == threads
    assert [make.args[0].device for make in engine.makers] == places
    assert {make.args[1] for make in engine.makers} == {sharers}


def test_a_number_of_threads_that_is_given_is_that_of_each(machine, monkeypatch):
    machine(0, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    engine = engine_for(5, ComputeOptions(), BatchOptions(workers=2), Reporter.silent())
    assert isinstance(engine, Pool) and engine.threads == 8


@pytest.mark.parametrize(("files", "workers", "cards"), [(1, "4", 0), (5, "1", 2), (5, "auto", 1), (5, "auto", 0)])
def test_one_process_is_this_one(machine, files, workers, cards):
    machine(cards, 8)
    engine = engine_for(files, ComputeOptions(device="cpu"), BatchOptions(workers=workers), Reporter.silent())
    assert isinstance(engine, Here)


def test_the_memory_is_shared():
    place = device.pick_device("cpu")
    alone = place.free_memory()
    assert device.replace(place, sharers=4).free_memory() == pytest.approx(alone / 4, rel=0.2)


@pytest.mark.parametrize(
    ("workers", "number", "device", "cards"), [("1", "auto", "auto", True), ("8", "8", "cpu", False)]
)
def test_a_cluster_has_workers_wherever_there_is_room(machine, workers, number, device, cards):
    machine(0, 8)
    compute, batch = ComputeOptions(device=device), BatchOptions(cluster="10.0.0.1:6379", workers=workers)
    engine = engine_for(5, compute, batch, Reporter.silent())
    assert isinstance(engine, Cluster) and (engine.address, engine.count) == ("10.0.0.1:6379", 5)
    assert (engine.workers, engine.cards, engine.threads) == (number, cards, None)
    assert engine.make(3).args == (compute, 3)

"""The job of `deblur train chain`: all that belongs to a single-frame network, trained link after link, and measured.

Every link is a run of its stage, which keeps and resumes itself (:mod:`deblurcli.jobs.train`). The summary is written
after each of them, with the options, and at the end with the scores.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from deblurcli.console import Reporter
from deblurcli.errors import DeblurError, InputError, UsageError
from deblurcli.files import OutputFile, reason
from deblurcli.jobs.train import finished, require_folders, run, training_worker
from deblurcli.options.chain import FROM, LINKS, SUMMARY, ChainOptions, Link
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import spelling
from deblurcli.restore.worker import Placed, Worker
from deblurcli.train.chain_scores import MEASURING, MEASURING_SHARE, Groups, chain_scores
from deblurcli.train.checkpoint import read_facts
from deblurcli.train.loop import STATE
from deblurcli.train.parallel import joined
from deblurcli.train.recipe import Setting
from deblurcli.train.stages.fusion import BASE
from deblurcli.train.stages.meta import drawn_tasks

CHANGEABLE = {"out", "save_every"}
"""Options that may change when a chain goes on. Its budget may not: a link would be trained further, and the links that
have learnt from it would not belong to it any more."""


def run_chain(
    options: ChainOptions, compute: ComputeOptions, console: Reporter | None = None, command: str = ""
) -> dict[str, Any]:
    """Train the links one after the other, each from what those before have written, and measure the whole.

    A chain that stopped goes on where it was; one that is finished is left as it is.

    Returns:
        the summary, as it is written to ``options.out``: the single-frame network, the options, of each link its files,
        iterations, minutes and held-out score before and after, and the scores of the whole in dB. Of several
        processes the leading one has the links and the scores.

    Raises:
        UsageError: the folder holds another chain, or ``--from`` another kind of network.
        InputError: no usable training material; for pairs, no clips that meta-training can use.
        WeightsError, OfflineError, DeviceError, OutputError: as :func:`deblurcli.jobs.train.run`.
    """
    stages = {link.name: options.of_link(link) for link in LINKS}
    worker = training_worker(compute, console)
    with joined(worker.device.where) as peers:
        if not peers.leads:
            worker.console = Reporter.silent()
        console, file = worker.console, options.out / SUMMARY
        summary = _begun(options, _single(options, worker))
        if "scores" in summary:
            console.note(f"{options.out}: already finished; give another --out to train another chain")
            return summary
        require_folders(stages[LINKS[0].name])
        if options.data is None:  # to be told now, and not when the links before are trained
            drawn_tasks(stages["meta"])  # type: ignore[arg-type]
        facts = {name: found for name, each in stages.items() if (found := finished(each)) is not None}
        left = {link.task: link.share for link in LINKS if link.name not in facts}
        with _told(options, console), console.run({**left, MEASURING: MEASURING_SHARE}):
            for number, link in enumerate(LINKS, 1):
                title = f"{link.name}, {number} of {len(LINKS)}"
                if link.name in facts:
                    console.note(f"{title}: finished after {facts[link.name]['iteration']} iterations")
                else:
                    console.note(f"{title}: deblur train {link.stage} in {options.out / link.name}")
                    console.progress(link.task, 0.0, 1.0)
                    said = f"{command or 'deblur train chain'} ({link.name})"
                    facts[link.name] = run(link.stage, stages[link.name], compute, console, said, link.task)
                    peers.agree(0.0)  # the others wait for its files
                if peers.leads:  # the only one that scores
                    summary["links"][link.name] = _outcome(options, link, facts[link.name])
                    _write(file, summary)
            if peers.leads:
                summary["scores"] = chain_scores(options, Setting(worker, peers, command))
                _write(file, summary)
                for line in _lines(summary["scores"]):
                    console.note(line)
        return summary


def _single(options: ChainOptions, worker: Worker) -> Placed:
    """The network of ``--from``. Raises UsageError: it is none that a chain is for."""
    found = worker.place(options.start, "image", "deblur")
    if found.network != BASE:
        raise UsageError(f"{FROM} {options.start} holds a {found.network}", f"a chain is trained for a {BASE}")
    return found


def _begun(options: ChainOptions, single: Placed) -> dict[str, Any]:
    """The summary in the folder, or a new one.

    Raises UsageError: it is that of another chain; InputError: it cannot be read.
    """
    now = {each.name: _plain(getattr(options, each.name)) for each in fields(options) if each.name not in CHANGEABLE}
    new = {"single-frame": {"name": single.name, "sha256": single.sha256}, "options": now, "links": {}}
    path = options.out / SUMMARY
    try:
        if not path.exists():
            return new
        found = json.loads(path.read_text(encoding="utf-8"))
        before, weights, _ = dict(found["options"]), found["single-frame"]["sha256"], dict(found["links"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = "take it away, or give another --out"
        raise InputError(f"{path} is no summary of a chain: {reason(error)}", cure) from error
    about = {each.name: each.metadata["option"] for each in fields(options)}
    changed = [
        f"{spelling(name, about[name])} {_shown(before.get(name))} (now {_shown(value)})"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if not changed and weights != single.sha256:
        changed = [f"{FROM} {options.start} with other weights than now"]
    if changed:
        cure = "give the options it was started with, or another --out"
        raise UsageError(f"{options.out} holds another chain: {', '.join(changed)}", cure)
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it; paths are absolute."""
    if isinstance(value, Path):
        return str(value.absolute())
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _outcome(options: ChainOptions, link: Link, facts: dict[str, Any]) -> dict[str, Any]:
    """What became of a link; its scores are those of its stage's log."""
    return {
        "files": [str(options.file(link.name, network)) for network in link.files],
        "iterations": facts["iteration"],
        "minutes": round(facts["seconds"] / 60, 1),
        "score": facts["curve"][-1][2],
        "score_at_start": facts["curve"][0][2],
    }


def _write(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary. Raises OutputError."""
    with OutputFile(path, overwrite=True) as output:
        output.file.write((json.dumps(summary, indent=1) + "\n").encode())


@contextlib.contextmanager
def _told(options: ChainOptions, console: Reporter) -> Iterator[None]:
    """Where the chain ends early, an interrupt included, say what is kept of it."""
    try:
        yield
    except BaseException:
        kept = []
        for link in LINKS:
            with contextlib.suppress(DeblurError):
                if (facts := read_facts(options.out / link.name / STATE)) is not None:
                    done = finished(options.of_link(link)) is not None
                    kept.append(f"{link.name} " + ("finished" if done else f"at iteration {facts['iteration']}"))
        if kept:
            console.note(f"kept in {options.out}: {', '.join(kept)}; the same command goes on")
        raise


def _lines(scores: Groups) -> Iterator[str]:
    """The scores of the whole, for people."""
    start = scores["start"]
    yield f"held-out PSNR: blurred {start['blurred']:.2f} dB, single frame {start['single frame']:.2f} dB"
    for name, after in scores["after"].items():
        gain = after - start["single frame"]
        bundled = f", {scores['before'][name]:.2f} dB with what is bundled" if name in scores["before"] else ""
        yield f"{name}: {after:.2f} dB ({gain:+.2f} to the single frame{bundled})"

"""Which options a training run that goes on must share with its beginning, as its state tells."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from deblurcli.errors import UsageError
from deblurcli.options.option import spelling
from deblurcli.options.train import STAGES
from deblurcli.options.training import TrainOptions
from deblurcli.weights.state import read_state

FREE = {"out", "minutes", "iterations", "save_every"}
"""Options that may change when a run goes on: where, how long, and how often it is saved."""


def settings(options: TrainOptions) -> dict[str, Any]:
    """The stage and the options that decide what a run learns, as they are stored in its state."""
    values: dict[str, Any] = {"stage": next(stage for stage, kind in STAGES.items() if kind is type(options))}
    for each in fields(options):
        if each.name not in FREE:
            values[each.name] = _plain(getattr(options, each.name))
    return values


def _plain(value: Any) -> Any:
    """A value as JSON has it; paths are absolute."""
    if isinstance(value, Path):
        return str(value.absolute())
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def refuse_changes(facts: dict[str, Any], options: TrainOptions) -> None:
    """Compare the options with those of the run's start, as far as its state holds any.

    Raises:
        UsageError: they differ, which would make it another run; every difference is named.
    """
    about = {each.name: each.metadata["option"] for each in fields(options)}
    now, changed = settings(options), []
    for name, value in facts.get("options", {}).items():
        if now.get(name, value) != value:
            spelt = spelling(name, about[name]) if name in about else name
            changed.append(f"{spelt} {_shown(value)} (now {_shown(now[name])})")
    if changed:
        cure = "give the options it was started with, or another --out"
        raise UsageError(f"{options.out} holds another run: {', '.join(changed)}", cure)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The plain facts of a state (iteration, seconds, options), None where there is none. Raises InputError."""
    return read_state(path, tensors=False)[0] if path.exists() else None


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)

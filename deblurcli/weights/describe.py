"""What is known about weights, as rows of name and finding: those of the registry, and a user's file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from deblurcli.networks import NETWORKS
from deblurcli.weights import registry, store
from deblurcli.weights.formats.official import parts_of
from deblurcli.weights.load import built, is_name, opened

Rows = list[tuple[str, str]]


def described(name_or_path: str) -> Rows:
    """Rows about weights: network, data, licence, score, checksum, sources, place and card.

    Args:
        name_or_path: a name of the registry, or a path, as ``--network`` takes them.

    Raises WeightsError: no such weights, or a file that is refused.
    """
    return _of_entry(name_or_path) if is_name(name_or_path) else _of_file(Path(name_or_path))


def _of_entry(name: str) -> Rows:
    entry = registry.find(name)
    where = {row.entry.name: row.path for row in store.listing()}[name]
    facts = {
        "name": entry.name,
        "network": entry.network,
        "data": entry.data,
        "licence": entry.licence if entry.terms == "free" else f"{entry.licence} ({entry.terms})",
        "score": entry.score,
        "citation": entry.citation,
        "size": f"{entry.size} bytes" if entry.size else "not stated",
        "sha256": entry.sha256,
        "path": str(where or f"not on this machine; {store.how_to_get(entry)}"),
    }
    rows = [(key, value) for key, value in facts.items() if value]
    for file in entry.published:
        rows.append(("file", f"{file.file}: {megabytes(file.size)}, sha256 {file.sha256 or 'not stated'}"))
        rows += [("source", source) for source in file.sources]
    return rows + (_card(store.card(entry), rows) if where else [])


def _of_file(path: Path) -> Rows:
    if (facts := _training(path)) is not None:
        rows = [("path", str(path)), ("holds", "the state of a training run, which the same command goes on from")]
        return rows + [(key, str(facts[key])) for key in ("iteration", "seconds", "seed", "options") if key in facts]
    found = opened([path])
    module = built(str(path), found)
    size = sum(part.stat().st_size for part in parts_of(path))
    rows = [
        ("path", str(path)),
        ("network", found.network),
        ("role", NETWORKS[found.network].role),
        ("config", json.dumps(found.config)),
        ("numbers", f"{sum(parameter.numel() for parameter in module.parameters())}"),
        ("size", f"{size} bytes"),
        ("sha256", found.sha256),
    ]
    return rows + _card(found.card, rows)


def _card(card: dict[str, Any], rows: Rows) -> Rows:
    """The facts of a card that are not among the rows."""
    known = {key for key, _ in rows}
    return [("card", f"{key}: {value}") for key, value in card.items() if key not in known]


def _training(path: Path) -> dict[str, Any] | None:
    """The plain facts in the state of a training run; None where a file is none."""
    with contextlib.suppress(Exception), safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["facts"])
        return facts if isinstance(facts, dict) else None
    return None


def megabytes(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e6:.1f} MB" if size else "? MB"

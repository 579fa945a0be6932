"""From the inputs on the command line to the files to write, and through them one by one."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblurcli.cli.session import explain
from deblurcli.console import Reporter
from deblurcli.errors import InputError, OutputError, PartialError, UsageError


@dataclass(frozen=True)
class Jobs:
    """What to read and what to write."""

    pairs: list[tuple[Path, Path]]
    batch: bool
    """Several files into a folder: one failure does not stop the rest."""


def expand(inputs: list[str], suffixes: Collection[str]) -> list[Path]:
    """Files as given, folders as the media files in them, patterns as what they match; sorted, none twice.

    What matches nothing stays in the list, so that it fails as one item and not in silence.
    """
    found: list[Path] = []
    for text in inputs:
        if not text:
            # An unset variable in a script; Path("") would be the working folder.
            raise UsageError("an input is empty", "give files, folders or patterns")
        try:
            found += _matches(text, suffixes) or [Path(text)]
        except OSError as error:
            raise InputError(
                f"{text} cannot be read: {error.strerror}", "check the path and its permissions"
            ) from error
    return list(dict.fromkeys(found))


def _matches(text: str, suffixes: Collection[str]) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
    if path.exists():
        return [path]
    # For shells that do not expand patterns; Path.glob takes none that are absolute.
    return sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207


def plan(inputs: list[str], output: str, suffixes: Collection[str]) -> Jobs:
    """Decide the name of every output before any work.

    Raises:
        UsageError: ``-o`` does not fit the inputs, or two inputs would have one output.
        InputError: a path cannot be read.
    """
    if not output:
        raise UsageError("-o is empty", "give a file, or a folder ending in /")
    sources, target = expand(inputs, suffixes), Path(output)
    folder = target.is_dir() or output.endswith(("/", os.sep))
    several = len(sources) > 1 or any(Path(text).is_dir() for text in inputs)
    if not folder and not several:
        if not target.suffix:
            file = output + sources[0].suffix
            raise UsageError(f"-o {output} has no suffix", f"give a file such as {file}, or a folder: {output}/")
        return Jobs([(sources[0], target)], batch=False)
    if not folder and (target.is_file() or target.suffix.lower() in suffixes):
        raise UsageError(f"-o {output} is one file for several inputs", f"give a folder: -o {target.with_suffix('')}/")
    names: dict[str, Path] = {}
    for source in sources:
        if other := names.get(source.name):
            raise UsageError(f"{other} and {source} would both be written as {target / source.name}", "run them apart")
        names[source.name] = source
    return Jobs([(source, target / source.name) for source in sources], batch=True)


def restore_one(work: Callable[..., Any], source: Path, destination: Path, report: Reporter, **options: Any) -> None:
    """Restore one file and say what came of it.

    Raises:
        PartialError: the file is written, with differences beyond its pixels.
        DeblurError: it is not written.
    """
    if source.is_dir():
        raise InputError(f"folder {source} has no files to restore", "give files, or another folder")
    summary = work(source, destination, report=report, **options)
    for line in summary.lines:
        report.note(line)
    report.event(
        "summary", source=source, destination=summary.destination, differences=summary.differences, **summary.facts
    )
    if not summary.facts.get("skipped"):
        report.result(str(summary.destination))
    if summary.differences:
        raise PartialError(f"{summary.destination} is written, but: {', '.join(summary.differences)}")


def restore(work: Callable[..., Any], jobs: Jobs, report: Reporter, **options: Any) -> None:
    """Restore every file; a batch goes on after a failure and ends with a summary.

    Raises:
        PartialError: some files failed or have differences, see :func:`finish`.
        DeblurError: the only file failed.
    """
    if not jobs.batch:
        return restore_one(work, *jobs.pairs[0], report, **options)
    folder = jobs.pairs[0][1].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {folder} cannot be made: {error.strerror}", "give another -o") from error
    codes = []
    for number, (source, destination) in enumerate(jobs.pairs, 1):
        report.note(f"[{number}/{len(jobs.pairs)}] {source}")
        try:
            restore_one(work, source, destination, report, **options)
        except BrokenPipeError:
            raise
        except Exception as error:
            codes.append(explain(report, error, about=source.name)[0])
    finish(codes, len(jobs.pairs))
    report.note(f"{len(jobs.pairs)} files done")


def finish(codes: list[int], total: int) -> None:
    """End a batch of ``total`` items, of which these did not go well.

    Raises:
        PartialError: some did not; its code is theirs where all failed for one reason.
    """
    if not codes:
        return
    failed = sum(code != PartialError.code for code in codes)
    counts = {"failed": failed, "with differences": len(codes) - failed}
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    ended = PartialError(f"of {total} files {summary}", "the lines above say why")
    if failed == total and len(set(codes)) == 1:
        ended.code = codes[0]
    raise ended

"""A job whose input or output lies behind an address: fetched first, restored here, and put there when it is complete.

What is restored knows nothing of it. Journal and segments lie in a folder of this machine that the two addresses name,
so that the same command goes on after an interrupt.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurcli.errors import DeblurError, UsageError
from deblurcli.files import OutputFile, PartFolder
from deblurcli.folders import temporary_place
from deblurcli.jobs.engine import Job
from deblurcli.jobs.result import Result
from deblurcli.media.inputs import is_numbered
from deblurcli.media.remote import Address, fetch, put, state_of

if TYPE_CHECKING:
    from deblurcli.restore.worker import Worker


def with_addresses(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, those with an address as jobs that fetch and put. Raises UsageError: one has an image sequence."""
    return [RemoteJob(job) if _is_remote(job) else job for job in jobs]


def _is_remote(job: Job) -> bool:
    ends = [end for end in (job.source, job.destination) if isinstance(end, Address)]
    for end in ends:
        if is_numbered(Path(end.name)):
            raise UsageError(f"{end} is an image sequence behind an address", "copy it to this machine first")
    return bool(ends)


@dataclass(frozen=True)
class RemoteJob:
    """A job with an address as its source, its destination or both. It can be pickled."""

    job: Any

    @property
    def source(self) -> Path:
        """What is read."""
        return self.job.source

    @property
    def destination(self) -> Path:
        """What is written."""
        return self.job.destination

    def run(self, worker: Worker) -> Result:
        """Do it. Raises DeblurError: also what fetching and putting end with."""
        options = self.job.options
        if isinstance(self.destination, Address) and self.destination.exists():
            if options.skip_existing:
                return Result(self.destination, lines=[f"{self.destination} exists, skipped"], facts={"skipped": True})
            if not options.overwrite:
                raise UsageError(f"{self.destination} exists", "use --overwrite or another name")
        place = workplace(self.source, self.destination)
        folder = place.path
        there = folder / "output" / self.destination.name if isinstance(self.destination, Address) else None
        done = False
        try:
            here = self._fetched(folder, worker)
            if there is not None:
                there.parent.mkdir(exist_ok=True)
                there.unlink(missing_ok=True)
            names = {here: self.source, there or self.destination: self.destination}
            try:
                result: Result = replace(self.job, source=here, destination=there or self.destination).run(worker)
            except DeblurError as error:
                error.found, error.cure = (_renamed([text], names)[0] for text in (error.found, error.cure))
                error.args = (f"{error.found}; {error.cure}" if error.cure else error.found,)
                raise
            result.destination = self.destination
            for lines in (result.lines, result.summary, result.plan, result.differences):
                lines[:] = _renamed(lines, names)
            if there is not None and there.exists():
                done = True
                worker.console.progress("sending", 0, None)
                self._put(there)
                there.unlink()
            return result
        finally:
            # What an interrupted run can go on from stays, and a finished file that could not be sent.
            unsent = done and there is not None and there.exists()
            place.close(keep=unsent or any(folder.glob("output/.*.part")))

    def _fetched(self, folder: Path, worker: Worker) -> Path:
        """The input as a file of this machine; what a run before has fetched serves, if it is still the same."""
        if not isinstance(self.source, Address):
            return self.source
        path, noted = folder / "input" / self.source.name, folder / "input.json"
        state = state_of(self.source)
        try:
            if path.exists() and set(state) > {"size"} and json.loads(noted.read_text()) == state:
                return path
        except (OSError, ValueError):
            pass
        worker.console.progress("fetching", 0, None)
        path.parent.mkdir(exist_ok=True)
        fetch(self.source, path)
        with OutputFile(noted, overwrite=True) as output:
            output.file.write(json.dumps(state).encode())
        return path

    def _put(self, there: Path) -> None:
        assert isinstance(self.destination, Address)
        try:
            put(there, self.destination, self.job.options.overwrite)
        except DeblurError as error:
            error.cure = f"{error.cure}; the finished file is {there}"
            error.args = (f"{error.found}; {error.cure}",)
            raise


def workplace(source: Path, destination: Path) -> PartFolder:
    """The folder of this machine for a job, the same one each time, which one run at a time has.

    Raises UsageError: another run has it; OutputError.
    """
    ends = (str(end) if isinstance(end, Address) else str(end.absolute()) for end in (source, destination))
    key = hashlib.sha256(os.fsencode("\0".join(ends))).hexdigest()[:16]
    try:
        return PartFolder(temporary_place() / f"deblurcli-{key}")
    except UsageError as error:
        raise UsageError(f"another run is writing {destination}", "wait for it, or give another name") from error


def _renamed(lines: Iterable[str], names: dict[Path, Path]) -> list[str]:
    """Lines with the names that the user gave."""
    found = list(lines)
    for local, given in names.items():
        found = [line.replace(str(local), str(given)) for line in found]
    return found

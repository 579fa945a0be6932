"""From the inputs on the command line to the files to write."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deblurcli.errors import DeblurError, InputError, OutputError, UsageError
from deblurcli.files import check_destination, reason
from deblurcli.jobs.shards import Shard
from deblurcli.media.inputs import (
    IMAGES,
    RAW_SUFFIXES,
    STDIN,
    STDOUT,
    VIDEOS,
    Found,
    Medium,
    is_hidden,
    is_numbered,
    is_pattern,
    is_sequence,
    look,
    searched_from,
)
from deblurcli.media.remote import Address, is_remote, path_of, require_object
from deblurcli.media.sequences import folder_of, has_number, pattern_of, place_of

MARK = ".deblurred"
"""What stands between name and suffix of an output that is not named."""


@dataclass(frozen=True)
class Plan:
    """What to read and what to write."""

    pairs: list[tuple[Path, Path]]
    """Sources and destinations."""
    batch: bool
    """Several files into a folder: one failure does not stop the rest."""
    medium: Medium | None = None
    """What is restored, if it is one."""
    renamed: frozenset[Path] = frozenset()
    """The sources whose suffix is not written, so that their outputs have another one."""
    left: tuple[str, ...] = ()
    """Lines about what lies beside the inputs and is left alone, or is another shard's."""
    below: Mapping[Path, Path] = field(default_factory=dict)
    """The path of each source below the folder that was given, or its name."""
    dry: bool = False
    """Nothing is written: it is only told what would be."""


def require_usable(source: Path, word: str = "file", cure: str = "") -> None:
    """Refuse an input that no reader should be asked about: a pattern, a folder, a link that leads nowhere, a pipe.

    ``word`` says what was looked for, ``cure`` what to do where a folder or a pattern has none. Raises InputError.
    """
    if isinstance(source, Address):
        return require_object(source, word)
    if is_sequence(source) and word != IMAGES.word:
        return
    if has_number(source):
        raise InputError(f"{source} is an image sequence, which is a video", "use deblur video, or give its folder")
    if is_pattern(str(source)):
        found = f"the pattern {source} matches no {word}"
        raise InputError(found, cure or "check the pattern, and the folder it starts from")
    try:
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(source).close()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and source.is_symlink():
            raise InputError(f"{source} is a link that leads nowhere", "give the file itself") from error
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{source} does not exist", "check the path") from error
        raise InputError(f"{source} cannot be read: {reason(error)}", "check the path and its permissions") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"folder {source} has no {word}s to restore", cure or "give files, or another folder")
    if not stat.S_ISREG(mode):
        raise InputError(f"{source} is not a regular file", "save it as a file first")
    if source.suffix.lower() in RAW_SUFFIXES:
        raise InputError(f"{source} is a raw photo", "develop it into a .tif of 16 bits first")


def explained(error: DeblurError, source: Path, medium: Medium | None) -> DeblurError:
    """The error of a file that could not be read, or, where it is what another command restores, one that says so."""
    others = (one for one in (VIDEOS, IMAGES) if one != medium and source.suffix.lower() in one.suffixes)
    other = next(others, None)
    if not isinstance(error, InputError) or medium is None or other is None or is_sequence(source):
        return error
    article = "an" if other.word[0] in "aeiou" else "a"
    return InputError(f"{source} is {article} {other.word}", f"use deblur {other.command}")


def plan(
    inputs: list[str],
    output: str | None,
    medium: Medium,
    written: Collection[str],
    recursive: bool = False,
    shard: Shard | None = None,
) -> Plan:
    """Decide the name of every output before any work.

    An image sequence goes to a folder of its folder's name, under the names of its pictures.

    Outputs get the names of their inputs; with ``recursive`` they lie in the same folders below the output as the
    inputs below theirs. What lies in an output folder within an input folder is no input, unless it is named.

    ``-`` is stdin as the only input, and stdout as the output.

    Args:
        output: a file or a folder; None: each output lies :func:`beside` its input, and those of a run before are no
            inputs.
        medium: what is restored.
        written: the suffixes that an output may have, in lower case; an input with another one is given the medium's
            substitute.
        shard: the share of the inputs that is done; what is refused is refused whichever it is.

    Raises:
        UsageError: ``-o`` does not fit the inputs, or two inputs would have one output.
        InputError: a path cannot be read, or the inputs stand for no file.
        OutputError: ``-o`` cannot be a name, or its folder cannot be searched.
    """
    if output == "":
        raise UsageError("-o is empty", "give a file, or a folder ending in /")
    if not inputs:
        return Plan([], True, medium, left=("the list of inputs is empty",))
    if STDIN in [named(given, STDIN) for given in inputs] or (output and named(output, STDOUT) == STDOUT):
        if len(inputs) > 1 or shard is not None:
            raise UsageError(f"- is one {medium.word}, not a batch of several", "give it alone")
        if is_remote(inputs[0]) or is_remote(output):
            raise UsageError("a pipe and an address together", "give a file of this machine for one of them")
        return Plan([_piped(inputs[0], output, medium)], False, medium)
    if output is None:
        return _shared(_plan_beside(inputs, medium, written, recursive), shard)
    target = path_of(output)
    try:
        folder, file = target.is_dir(), target.is_file()
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {reason(error)}", "give another -o") from error
    found, left = _searched(inputs, medium, recursive, target if folder else None)
    if left and not found.files:
        where = inputs[0] if len(inputs) == 1 else "the inputs"
        raise InputError(f"every {medium.word} of {where} lies in the output folder {output}", "give another -o")
    left = (*left_alone(found, medium), *left)
    if not any(map(_is_input, found.files)):
        require_usable(next(iter(found.files), path_of(inputs[0])), medium.word, "; ".join(left))
    sources = list(found.files)
    folder = folder or output.endswith(("/", os.sep))
    alone = len(sources) == 1 and (is_sequence(sources[0]) or not any(path_of(text).is_dir() for text in inputs))
    if not folder and alone:
        if not target.suffix:
            like = sources[0].suffix if sources[0].suffix.lower() in written else medium.substitute
            like = f"/{pattern_of(sources[0])}" if is_sequence(sources[0]) else like
            cure = f"give a file such as {output}{like}, or a folder: {output}/"
            raise UsageError(f"-o {output} has no suffix", cure)
        return _shared(Plan([(sources[0], target)], False, medium, left=left, below=found.files), shard)
    one = target.suffix.lower() in medium.suffixes or (medium == VIDEOS and is_numbered(target))
    if not folder and (file or one):
        raise UsageError(f"-o {output} is one file for several inputs", f"give a folder: -o {target.with_suffix('')}/")
    names = output_names(found.files, medium, written)
    taken: dict[Path, Path] = {}
    for source, name in names.items():
        place = place_of(target / name)
        if other := taken.get(place):
            raise UsageError(f"{other} and {source} would both be written as {place}", "run them apart")
        taken[place] = source
    renamed = frozenset(
        source for source, below in found.files.items() if names[source] != below and not is_sequence(source)
    )
    pairs = [(source, target / name) for source, name in names.items()]
    return _shared(Plan(pairs, True, medium, renamed, left, found.files), shard)


def named(name: str | Path, end: Path) -> Path:
    """The path that a name stands for: ``-`` is ``end``, stdin or stdout, and ``./-`` a file."""
    return end if str(name) == "-" else Path(name)


def _piped(given: str, output: str | None, medium: Medium) -> tuple[Path, Path]:
    """One input and its output, of which one at least is a pipe. Raises UsageError, InputError."""
    source = named(given, STDIN)
    target = beside(source, medium, ()) if output is None else named(output, STDOUT)
    if source == STDIN and output is not None and target != STDOUT:
        if output.endswith(("/", os.sep)) or target.is_dir():
            raise UsageError(f"-o {output} is a folder, and stdin has no name for a file in it", "give a file")
        if not target.suffix:
            raise UsageError(f"-o {output} has no suffix", f"give a file such as {output}{medium.substitute}")
    if source != STDIN:
        files = list(look([given], medium.suffixes).files)
        if len(files) > 1:
            raise UsageError(f"-o - is one {medium.word}, and {given} stands for {len(files)}", "give one, or a folder")
        source = next(iter(files), source)
        require_usable(source, medium.word)
    return source, target


def beside(source: Path, medium: Medium, written: Collection[str]) -> Path:
    """The output of an input where none is named: ``IMG.mp4`` becomes ``IMG.deblurred.mp4`` in the same folder.

    ``written``: the suffixes that an output may have, in lower case; for others the medium's substitute is taken.
    Raises UsageError: stdin has no name.
    """
    if source == STDIN:
        raise UsageError("stdin has no name that an output could get", "give -o FILE, or -o - for stdout")
    if medium == VIDEOS and is_sequence(source):
        folder = folder_of(source)
        folder = folder if folder.name else folder.absolute()
        return folder.with_name(folder.name + MARK) / pattern_of(source)
    suffix = source.suffix if source.suffix.lower() in written else medium.substitute
    return source.with_name(f"{source.stem}{MARK}{suffix}")


def _plan_beside(inputs: list[str], medium: Medium, written: Collection[str], recursive: bool) -> Plan:
    """The plan of outputs that lie beside their inputs. Raises UsageError, InputError."""
    found = _looked(inputs, medium, recursive)
    left = left_alone(found, medium)
    if not any(map(_is_input, found.files)):
        require_usable(next(iter(found.files), path_of(inputs[0])), medium.word, "; ".join(left))
    outputs = {source: beside(source, medium, written) for source in found.files}
    # What a run before has made of the same inputs, which a folder or a pattern stands for, too.
    made = set(map(place_of, outputs.values())) & set(outputs)
    pairs: dict[Path, Path] = {}
    for source, out in outputs.items():
        if source in made:
            continue
        if out in pairs:
            raise UsageError(f"{pairs[out]} and {source} would both be written as {out}", "run them apart, with -o")
        pairs[out] = source
    left += (f"{_counted(len(made), 'earlier output')} left alone",) if made else ()
    folders = (path_of(text) for text in inputs)
    batch = len(pairs) > 1 or bool(made) or any(path.is_dir() and path not in outputs for path in folders)
    renamed = frozenset(
        source for out, source in pairs.items() if source.suffix != out.suffix and not is_sequence(source)
    )
    return Plan([(source, out) for out, source in pairs.items()], batch, medium, renamed, left, found.files)


def _looked(inputs: Iterable[str | Path], medium: Medium, recursive: bool) -> Found:
    """What the inputs stand for; image sequences are videos."""
    return look(inputs, medium.suffixes, recursive, sequences=medium == VIDEOS)


def _is_input(source: Path) -> bool:
    """Whether something was found: no pattern without matches, and no folder without files."""
    return is_sequence(source) or not (is_pattern(str(source)) or source.is_dir())


def _shared(whole: Plan, shard: Shard | None) -> Plan:
    """A share of a plan."""
    if shard is None:
        return whole
    pairs = [(source, out) for source, out in whole.pairs if shard.holds(whole.below[source])]
    line = (
        f"shard {shard} has {len(pairs)} of {_counted(len(whole.pairs), whole.medium.word if whole.medium else 'file')}"
    )
    return replace(whole, pairs=pairs, left=(*whole.left, line))


def _searched(
    inputs: Iterable[str], medium: Medium, recursive: bool, target: Path | None
) -> tuple[Found, tuple[str, ...]]:
    """What the inputs stand for, and a line about what lies in the folder for outputs and was left out.

    That is what a search finds there, of a folder or a pattern around it: it comes from a run before. A file that is
    named is an input wherever it lies, and so is what is searched for in the folder for outputs itself.
    """
    found, inside = Found(), None if target is None else target.resolve()
    outputs: dict[Path, None] = {}
    for text in inputs:
        part, top = _looked([text], medium, recursive), searched_from(text)
        if inside is not None and top is not None and top.resolve() in inside.parents:
            within = {path: inside in (place := path.resolve(), *place.parents) for path in part.all()}
            outputs |= dict.fromkeys(path for path in part.files if within[path])
            part.files = {path: below for path, below in part.files.items() if not within[path]}
            part.beside = [path for path in part.beside if not within[path]]
            part.folders = [path for path in part.folders if not within[path]]
        found.add(part)
    count = len(outputs.keys() - found.files.keys())
    return found, (f"{_counted(count, medium.word)} in the output folder left alone",) if count else ()


def output_names(files: Mapping[Path, Path], medium: Medium, written: Collection[str]) -> dict[Path, Path]:
    """The output of each file, below the folder for outputs: its input's name, with a suffix that is written."""
    sequences = {source: below / pattern_of(source) for source, below in files.items() if is_sequence(source)}
    others = {
        source: below.with_suffix(medium.substitute)
        for source, below in files.items()
        if source not in sequences and source.suffix.lower() in medium.suffixes and below.suffix.lower() not in written
    }
    wanted = Counter([*others.values(), *(below for source, below in files.items() if source not in others)])
    names = dict(files) | sequences
    for source, name in others.items():
        # a.mxf beside a.mkv becomes a.mxf.mkv.
        below = files[source]
        names[source] = name if wanted[name] == 1 else below.with_name(below.name + medium.substitute)
    return names


def left_alone(found: Found, medium: Medium | None = None) -> tuple[str, ...]:
    """A line for each kind of thing beside the inputs: what another command restores, other files, folders."""
    kinds = Counter(_kind(path, medium) for path in found.beside)
    lines = []
    for one in (VIDEOS, IMAGES):
        if count := kinds.pop(one.word, 0):
            lines.append(f"{_counted(count, one.word)} left alone: use deblur {one.command}")
    if count := kinds.total():
        lines.append(f"{_counted(count, 'other file')} left alone")
    if found.folders:
        lines.append(f"{_counted(len(found.folders), 'folder')} in folders left alone: --recursive takes them, too")
    return tuple(lines)


def _kind(path: Path, medium: Medium | None) -> str:
    """What a file that is no input is, as far as its name tells."""
    suffix = path.suffix.lower()
    others = [one for one in (VIDEOS, IMAGES) if medium is not None and one != medium]
    return next((one.word for one in others if suffix in one.suffixes and not is_hidden(path)), "")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, and those around it, where it is missing. Raises OutputError: it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {folder} cannot be made: {reason(error)}", "give another -o") from error


def require_place(
    destination: Path,
    inputs: Iterable[Path],
    *,
    overwrite: bool,
    made: bool,
    check: Callable[[Path, Iterable[Path], bool], None] = check_destination,
) -> None:
    """Refuse an output that could not be written, without writing anything. Raises UsageError and OutputError.

    ``made``: its folder will be made where it is missing; ``check``: refuses what lies in a folder that is there.
    """
    missing = [folder for folder in place_of(destination).parents if not os.path.lexists(folder)] if made else []
    if not missing:
        check(destination, inputs, overwrite)
        return
    there = missing[-1].parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OutputError(f"folder {missing[0]} cannot be made: {there} is not writable", "give another -o")

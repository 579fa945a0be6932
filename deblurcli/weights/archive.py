"""Files of weights in the zip archives that authors publish them in."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from deblurcli.errors import WeightsError
from deblurcli.files import OutputFile
from deblurcli.weights.download import MAX_BYTES

SHOWN = 3
"""Paths of an archive that a message names."""


def unpacked(archive: Path, member: str, path: Path, otherwise: str) -> Path:
    """Write one file of an archive to ``path``, which is returned. Nothing else of it is written.

    Args:
        member: how the path of the file inside ends; exactly one file may have such a path.
        otherwise: what a user can do where the archive does not have it.

    Raises:
        WeightsError: the archive is damaged, has no such file or several, or the file is too large.
        OutputError: the file cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [entry for entry in opened.infolist() if entry.filename.endswith(member)]
            if len(found) != 1:
                name = member.rpartition("/")[2]
                alike = [entry.filename for entry in opened.infolist() if entry.filename.endswith(name)][:SHOWN]
                how = f"{len(found)} files" if found else "no file"
                has = f"; it has {', '.join(alike)}" if alike else ""
                raise WeightsError(f"{archive.name} has {how} {member}{has}", otherwise)
            if found[0].file_size > MAX_BYTES:
                raise WeightsError(f"{archive.name}: {member} has {found[0].file_size} bytes", otherwise)
            with opened.open(found[0]) as source, OutputFile(path, overwrite=True) as output:
                shutil.copyfileobj(source, output.file)  # as many bytes as it claims, whose checksum is compared
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{archive.name} is damaged, or no zip archive ({error})", otherwise) from error
    return path

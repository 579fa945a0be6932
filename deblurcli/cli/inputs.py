"""What the commands that restore files take: inputs, and where the outputs go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from deblurcli.options.option import Options, option

Inputs = Annotated[
    list[str] | None, typer.Argument(metavar="INPUT", help="Files, folders of them, or patterns in quotes; - is stdin.")
]


@dataclass(frozen=True)
class Outputs(Options):
    """Where outputs go, and which files of a folder are inputs."""

    output: str | None = option(
        None,
        "File to write; a folder for several; - is stdout.",
        "Result",
        metavar="OUT",
        flags=("-o", "--output"),
        usual="beside the input, NAME.deblurred with its suffix",
    )
    recursive: bool = option(False, "Take the folders in a folder, too; OUT gets the same folders.", "Result")

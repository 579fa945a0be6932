"""The commands of the program as Typer made them, and the fields that their options come from."""

from __future__ import annotations

import dataclasses

import typer

from deblurcli.cli.app import app


def command_of(name):
    """The command of these words, such as ``train deblur``."""
    found = typer.main.get_command(app)
    for word in name.split():
        found = found.commands[word]
    return found


def options_of_command(name):
    ours = {"inputs", "dataset", "output", "recursive", "sequences", "quiet", "verbose", "log"}
    return {param.name: param for param in command_of(name).params if param.name not in ours}


def fields_of(*kinds):
    return {field.name: field for kind in kinds for field in dataclasses.fields(kind)}

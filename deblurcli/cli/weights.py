"""`deblur weights`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from deblurcli.cli.parameters import command, group, weights_names
from deblurcli.cli.session import Format, Session
from deblurcli.errors import DeblurError, WeightsError
from deblurcli.jobs.batch import finish
from deblurcli.options.option import Options, option
from deblurcli.texts import aligned, by_name, printable

app = group("Show, check, fetch and import the weights of the networks.")


def _name(help: str = "A name of the list.") -> Any:
    return typer.Argument(metavar="NAME", help=help, show_default=False, autocompletion=weights_names)


Name = Annotated[str, _name()]


@dataclass(frozen=True)
class Terms(Options):
    """What is agreed to."""

    accept_licence: bool = option(False, "Agree to a licence that is not free; asked for once.")


@dataclass(frozen=True)
class Imported(Options):
    """What the files are, and where they go."""

    network: str = option(help="Weights of the list that the files are.", metavar="NAME", complete="weights")
    output: Path | None = option(
        None, "Write here and not into the cache; NAME may be any network.", flags=("-o", "--output")
    )
    overwrite: bool = option(False, "Replace the output if it exists.")


@command(app, "list")
def listing(session: Session, format: Format) -> None:
    """List the weights: name, network, size, licence, where they are (bundled, cached, available, import), score.

    Available ones can be fetched with `deblur weights pull`. Those marked import must be fetched in a browser first;
    `deblur weights info` says where.
    """
    from deblurcli.weights import store

    if format.form == "json":
        session.console.result(json.dumps([_facts(row) for row in store.listing()]))
        return
    rows = [
        (row.entry.name, row.entry.network, _megabytes(row.entry.size), row.entry.licence, row.state, row.entry.score)
        for row in store.listing()
    ]
    for line in aligned(rows):
        session.console.result(line)


@command(app, "pull")
def pull(
    session: Session,
    terms: Terms,
    names: Annotated[list[str] | None, _name("Names of the list.")] = None,
) -> None:
    """Fetch weights into the cache; without NAME, all that the commands use by themselves.

    What is fetched is compared with the registry's SHA-256 and, where others published it, converted into a file that
    cannot hold code. Files that are there and whole are not fetched again. The paths go to stdout.

    DEBLUR_CACHE names the folder of the cache, HF_ENDPOINT a mirror of the Hugging Face Hub; with DEBLUR_OFFLINE=1
    nothing is fetched. Proxies are taken from the environment.
    """
    from deblurcli.weights import pull as pulling
    from deblurcli.weights import registry, store

    known = registry.installed()
    used = [entry for job in known.sets for entry in known.weights_of(job).values()]
    wanted = names or [name for entry in used for name in (entry.name, *entry.adapt_from.values())]
    entries = [known.find(name) for name in dict.fromkeys(wanted)]
    codes = []
    for entry in entries:
        try:
            session.console.result(str(pulling.pull(entry, session.console, accept_licence=terms.accept_licence)))
        except DeblurError as error:
            if len(entries) == 1:
                raise
            codes.append(session.console.failure(error))
    finish(codes, len(entries))
    if not names:
        session.console.note(f"all weights that commands use by themselves are here; {len(store.listing())} are known")


@command(app, "import")
def import_(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="A file as published; the several files of one network.")
    ],
    to: Imported,
) -> None:
    """Convert weights that the networks' authors published and you have fetched.

    Files of PyTorch (.pth, .pt, .pkl, .pth.tar), safetensors, the checkpoint of SRN (TensorFlow) and the files of DBN
    (Torch7) are read; for several files their folder may be given. Nothing in them is run. Every tensor must be the
    network's, and every number finite. With -o, the result can be given to --network as a file; so can the published
    file itself. The path goes to stdout.
    """
    from deblurcli.weights.pull import import_files

    written = import_files(files, to.network, session.console, to.output, overwrite=to.overwrite)
    session.console.result(str(written))


@command(app, "remove")
def remove(session: Session, name: Name) -> None:
    """Delete weights from the cache."""
    from deblurcli.weights import registry, store

    session.console.note(f"{store.remove(registry.find(name))} removed")


@command(app, "path")
def path(session: Session, name: Name = "") -> None:
    """Print where a file of weights lies; without NAME, the folder for weights that are not bundled."""
    from deblurcli.weights import registry, store

    session.console.result(str(store.locate(registry.find(name)) if name else store.cache_folder()))


@command(app, "verify")
def verify(session: Session, name: Name = "") -> None:
    """Compare the size and SHA-256 of a file of weights with the registry; without NAME, of all on this machine."""
    from deblurcli.weights import registry, store

    entries = [registry.find(name)] if name else [row.entry for row in store.listing() if row.path or row.entry.bundled]
    refused = 0
    for entry in entries:
        try:
            store.verify(entry)
            session.console.result(f"{entry.name}  OK")
        except DeblurError as error:
            if name:
                raise
            refused += 1
            session.console.failure(error)
    if refused:
        raise WeightsError(f"{refused} of {len(entries)} files of weights are refused", "the lines above say why")


@command(app, "info")
def info(
    session: Session, name: Annotated[str, _name("A name of the list, or a file of weights.")], format: Format
) -> None:
    """Show what is known about weights: network, data, licence, score, checksum, sources, place, and the card.

    A file of one's own is checked as --network checks it.
    """
    from deblurcli.weights.describe import described

    if format.form == "json":
        session.console.result(json.dumps(by_name(described(name))))
        return
    for key, value in described(name):
        session.console.result(f"{key:8} {printable(value)}")


def _facts(row: Any) -> dict[str, Any]:
    entry = row.entry
    size = {"bytes": entry.size or None, "path": None if row.path is None else str(row.path)}
    facts = {"name": entry.name, "network": entry.network, "licence": entry.licence, "terms": entry.terms}
    return facts | {"state": row.state, "score": entry.score or None} | size


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "? MB"

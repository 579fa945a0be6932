"""`deblur weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.pages import Pages
from deblurcli.cli.parameters import command, weights_names
from deblurcli.cli.session import Session
from deblurcli.errors import DeblurError, WeightsError
from deblurcli.jobs.batch import finish

app = typer.Typer(
    cls=Pages,
    help="Show, check, fetch and import the weights of the networks.",
    no_args_is_help=False,
    rich_markup_mode=None,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name of the list.", show_default=False, autocompletion=weights_names)
]
OptionalName = Annotated[
    str, typer.Argument(metavar="NAME", help="A name of the list.", show_default=False, autocompletion=weights_names)
]


@command(app, "list")
def listing(session: Session) -> None:
    """List the weights: name, network, size, licence, where they are (bundled, cached, available, import), score.

    Available ones can be fetched with `deblur weights pull`. Those marked import must be fetched in a browser first;
    `deblur weights info` says where.
    """
    report = session.console
    from deblurcli.weights import store

    rows = [
        (row.entry.name, row.entry.network, _megabytes(row.entry.size), row.entry.licence, row.state, row.entry.score)
        for row in store.listing()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        report.result("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


@command(app, "pull")
def pull(
    session: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Names of the list.", show_default=False, autocompletion=weights_names),
    ] = None,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence", help="Agree to a licence that is not free; asked for once.", show_default=False
        ),
    ] = False,
) -> None:
    """Fetch weights into the cache; without NAME, all that the commands use by themselves.

    What is fetched is compared with the registry's SHA-256 and, where others published it, converted into a file that
    cannot hold code. Files that are there and whole are not fetched again. The paths go to stdout.

    DEBLUR_CACHE names the folder of the cache, HF_ENDPOINT a mirror of the Hugging Face Hub; with DEBLUR_OFFLINE=1
    nothing is fetched. Proxies are those of the environment.
    """
    report = session.console
    from deblurcli.weights import pull as pulling
    from deblurcli.weights import registry, store

    known = registry.installed()
    used = [entry for job in known.sets for entry in known.weights_of(job).values()]
    wanted = names or [name for entry in used for name in (entry.name, entry.adapt_from) if name]
    entries = [known.find(name) for name in dict.fromkeys(wanted)]
    codes = []
    for entry in entries:
        try:
            report.result(str(pulling.pull(entry, report, accept_licence=accept_licence)))
        except DeblurError as error:
            if len(entries) == 1:
                raise
            codes.append(report.failure(error))
    finish(codes, len(entries))
    if not names:
        report.note(f"all weights that commands use by themselves are here; {len(store.listing())} are known")


@command(app, "import")
def import_(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="A file as published; the several files of one network.")
    ],
    network: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Weights of the list that the files are.",
            show_default=False,
            autocompletion=weights_names,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write here and not into the cache; NAME may be any network."
        ),
    ] = None,
) -> None:
    """Convert weights that the networks' authors published and you have fetched.

    Files of PyTorch (.pth, .pt, .pkl, .pth.tar), safetensors, the checkpoint of SRN (TensorFlow) and the files of DBN
    (Torch7) are read; for several files their folder may be given. Nothing in them is run. Every tensor must be the
    network's, and every number finite. With -o, the result can be given to --network as a file; so can the published
    file itself. The path goes to stdout.
    """
    report = session.console
    from deblurcli.weights.pull import import_files

    report.result(str(import_files(files, network, report, output)))


@command(app, "remove")
def remove(session: Session, name: Name) -> None:
    """Delete weights from the cache."""
    report = session.console
    from deblurcli.weights import registry, store

    report.note(f"{store.remove(registry.find(name))} removed")


@command(app, "path")
def path(session: Session, name: OptionalName = "") -> None:
    """Print where a file of weights lies; without NAME, the folder for weights that are not bundled."""
    report = session.console
    from deblurcli.weights import registry, store

    report.result(str(store.locate(registry.find(name)) if name else store.cache_folder()))


@command(app, "verify")
def verify(session: Session, name: OptionalName = "") -> None:
    """Compare the size and SHA-256 of a file of weights with the registry; without NAME, of all on this machine."""
    report = session.console
    from deblurcli.weights import registry, store

    entries = [registry.find(name)] if name else [row.entry for row in store.listing() if row.path or row.entry.bundled]
    refused = 0
    for entry in entries:
        try:
            store.verify(entry)
            report.result(f"{entry.name}  OK")
        except DeblurError as error:
            if name:
                raise
            refused += 1
            report.failure(error)
    if refused:
        raise WeightsError(f"{refused} of {len(entries)} files of weights are refused", "the lines above say why")


@command(app, "info")
def info(session: Session, name: Name) -> None:
    """Show what is known about weights: network, data, licence, score, checksum, sources, place, and the card."""
    report = session.console
    from deblurcli.weights import registry, store

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
    facts = {key: value for key, value in facts.items() if value}
    for key, value in facts.items():
        report.result(f"{key:8} {value}")
    for file in entry.published:
        report.result(f"file     {file.file}: {_megabytes(file.size)}, sha256 {file.sha256 or 'not stated'}")
        for source in file.sources:
            report.result(f"source   {source}")
    if where:
        for key, value in store.card(entry).items():
            if key not in facts:
                report.result(f"card     {key}: {value}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "? MB"

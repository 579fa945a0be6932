"""`deblur weights`."""

from __future__ import annotations

from typing import Annotated

import typer

from deblurcli.cli.session import Log, Quiet, Verbose, begin, explain, weights_names
from deblurcli.errors import DeblurError, WeightsError

app = typer.Typer(help="Show and check the weights of the networks.", no_args_is_help=False, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of the list.", autocompletion=weights_names)]
OptionalName = Annotated[str, typer.Argument(metavar="NAME", help="A name of the list.", autocompletion=weights_names)]


@app.command("list")
def listing(ctx: typer.Context, quiet: Quiet = False, verbose: Verbose = False, log: Log = "") -> None:
    """List the weights: name, network, size, licence, and whether they are on this machine."""
    report = begin(ctx, quiet, verbose, log)
    from deblurcli.weights import store

    rows = [
        (row.entry.name, row.entry.network, f"{row.entry.size / 1e6:.1f} MB", row.entry.licence, row.state)
        for row in store.listing()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        report.result("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def path(
    ctx: typer.Context, name: OptionalName = "", quiet: Quiet = False, verbose: Verbose = False, log: Log = ""
) -> None:
    """Print where a file of weights lies; without NAME, the folder for weights that are not bundled."""
    report = begin(ctx, quiet, verbose, log)
    from deblurcli.weights import registry, store

    report.result(str(store.locate(registry.find(name)) if name else store.cache_folder()))


@app.command()
def verify(
    ctx: typer.Context, name: OptionalName = "", quiet: Quiet = False, verbose: Verbose = False, log: Log = ""
) -> None:
    """Compare the size and SHA-256 of a file of weights with the registry; without NAME, of all on this machine."""
    report = begin(ctx, quiet, verbose, log)
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
            explain(report, error)
    if refused:
        raise WeightsError(f"{refused} of {len(entries)} files of weights are refused", "the lines above say why")


@app.command()
def info(ctx: typer.Context, name: Name, quiet: Quiet = False, verbose: Verbose = False, log: Log = "") -> None:
    """Show what is known about weights: network, data, licence, score, checksum, place, and the card."""
    report = begin(ctx, quiet, verbose, log)
    from deblurcli.weights import registry, store

    entry = registry.find(name)
    where = {row.entry.name: row.path for row in store.listing()}[name]
    facts = {
        "name": entry.name,
        "network": entry.network,
        "data": entry.data,
        "licence": entry.licence,
        "score": entry.score,
        "size": f"{entry.size} bytes",
        "sha256": entry.sha256,
        "path": where or "not on this machine",
    }
    for key, value in facts.items():
        report.result(f"{key:8} {value}")
    if where:
        for key, value in store.card(entry).items():
            if key not in facts:
                report.result(f"card     {key}: {value}")

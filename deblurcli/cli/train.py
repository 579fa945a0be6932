"""`deblur train`: a command for each stage."""

from __future__ import annotations

from typing import Annotated, Any

from deblurcli.cli.pages import Page
from deblurcli.cli.parameters import command, group, only
from deblurcli.cli.session import Session
from deblurcli.errors import UsageError
from deblurcli.options.chain import ChainOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.train import STAGES
from deblurcli.options.training import TrainOptions

COMMON = """

The blur to learn from is made from the sharp pictures that are given. Give --minutes or --iterations. Weights, state
and log are written every few minutes and at the end, an interrupt included; the same command goes on where it
stopped."""

app = group(f"Train a network.{COMMON}")


class Stage(Page):
    """A stage, which names the stages that have an option when it has not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse. Raises UsageError: an option of another stage."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)
            stages: dict[str, Any] = ctx.parent.command.commands if ctx.parent else {}
            owners = [s for s, c in stages.items() if any(name in (*p.opts, *p.secondary_opts) for p in c.params)]
            if not name or not owners or self.name in owners:
                raise
            found = f"{name} means nothing to deblur train {self.name}"
            raise UsageError(found, f"leave it out, or train {' or '.join(owners)}") from error


def _stage(name: str, kind: type[TrainOptions]) -> Any:
    def train(
        session: Session, options: Any, compute: Annotated[ComputeOptions, only("device", "dtype", "offline")]
    ) -> None:
        from deblurcli.jobs.train import run

        run(name, options, compute, session.console, session.command)
        session.console.result(str(options.out / f"{options.network}.safetensors"))

    train.__annotations__["options"] = kind
    train.__doc__ = f"{kind.__doc__}{COMMON} The path of the trained weights goes to stdout."
    return train


for stage, kind in STAGES.items():
    command(app, stage, Stage)(_stage(stage, kind))


@command(app, "chain", Stage)
def chain(
    session: Session, options: ChainOptions, compute: Annotated[ComputeOptions, only("device", "dtype", "offline")]
) -> None:
    """Train all that belongs to a single-frame network: the fusion of the video network, the reblurring module,
    meta-learned weights, the reblurring network, and both of them meta-learned.

    Each is a link with a folder of its own and a share of the budget. The same command goes on where it stopped. At the
    end all are measured together on held-out videos. The paths of the trained weights go to stdout.
    """
    from deblurcli.jobs.chain import run_chain

    run_chain(options, compute, session.console, session.command)
    for path in options.files:
        session.console.result(str(path))

"""Reblur2Deblur in small: convolution or warps, two frames or three, one clip or all, and what an update costs.

`steps` times an update by ten patches of 128x128, as table 3 of the paper does, in seconds of the processor, and
measures the memory of blurring them again. Patches move by 12 pixels a frame, tau is 1, and the weights are random.

`tables` adapts to clips of benchmarks/cameras.py whose kinds nothing was tuned by (--data: the folder of training
material, whose held-out photos are filmed): tables 3, 4 and 5 of the paper in small. DBN needs weights: --dbn. What is
done is kept in a file, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cameras import HALVES, Frames, make
from benchmarks.families import pictures, psnr
from benchmarks.results import FOLDER, Table
from deblurcli.adaptation.flow_estimate import Flow, flow_of
from deblurcli.adaptation.reblur_loss import FRAMES, ReblurLoss, restored_in_a_row
from deblurcli.adaptation.reblurring_flow import FlowReblurring
from deblurcli.media.footage import PictureFootage
from deblurcli.methods.reblur2deblur import moment_of, prepare
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__

PATCHES, SIDE, SPEED = 10, 128, 12
"""Patches of an update, their side in pixels, and their motion in pixels a frame."""
ROUNDS = 3
PAPER_SECONDS = {"dbn": (2.15, 0.56), "default": (2.32, 1.01)}
"""Table 3: seconds of an update by convolution and by warps; DeblurGAN's stand beside the default network's."""
PAPER_GAINS = {"convolution": 0.627, "warps": 0.626, "2 frames": 0.096}
"""Tables 3 and 5: gains of DBN over 25.067 dB. Three frames are the rule: ``warps``."""
CLIPS = (("length", "8"), ("length", "16"), ("response", "gamma 3.2"), ("frame rate", "open a quarter"))
"""Family and kind of the clips of the half that nothing was tuned by."""
SIZE = (320, 192)
MODELS = ("convolution", "warps", "warps along a curve")
VARIANTS: dict[str, dict[str, Any]] = {
    "convolution": {"reblur_model": "conv"},
    "warps": {},
    "warps along a curve": {"reblur_model": "curve"},
    "2 frames": {"reblur_frames": 2},
}
GROUP = "group"
MEMORY = """
import re, sys, torch
from deblurcli.adaptation.reblurring_flow import FlowReblurring
torch.manual_seed(1)
reblurring = FlowReblurring(sys.argv[1], tau=1.0)
def peak():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1]) / 1024
def update(count, side):
    flows = (8 * torch.randn(count, 2, side, side, requires_grad=True) for _ in range(2))
    reblurring(torch.rand(count, 3, side, side, requires_grad=True), *flows).square().mean().backward()
update(1, 16)
before = peak()
update(int(sys.argv[2]), int(sys.argv[3]))
print(peak() - before)
"""


def moving_patches(frames: int) -> Tensor:
    """A texture that moves sideways: ``PATCHES`` x frames x 3 x ``SIDE`` x ``SIDE`` in [0, 1]."""
    coarse = torch.rand(PATCHES, 3, 40, 80, generator=torch.Generator().manual_seed(1))
    world = F.interpolate(coarse, (SIDE, SIDE + SPEED * frames), mode="bicubic").clamp(0, 1)
    return torch.stack([world[..., SPEED * at : SPEED * at + SIDE] for at in range(frames)], 1)


def processor_seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def update_seconds(placed: Placed, flow: Flow) -> tuple[float, float, float]:
    """Seconds of the network's part of an update, and of the flow and the blur by convolution and by warps."""
    module, clips = placed.module.requires_grad_(True), moving_patches(moment_of(placed.spec)).to(placed.device.where)
    optimiser = torch.optim.Adam(module.parameters())
    restored = clips[:, (clips.shape[1] - FRAMES) // 2 :][:, :FRAMES].clone().requires_grad_()

    def network() -> None:
        found = restored_in_a_row(module, placed.spec, clips, placed.device)
        optimiser.zero_grad()
        found.backward(torch.ones_like(found))
        optimiser.step()

    def reblurring(model: str) -> None:
        ReblurLoss(FlowReblurring(model, tau=1.0), flow)(restored, clips[:, clips.shape[1] // 2]).backward()

    works: list[Callable[[], None]] = [network, lambda: reblurring("conv"), lambda: reblurring("warp")]
    found = [[processor_seconds(work) for work in works] for _ in range(ROUNDS)]
    one, two, three = (median(times) for times in zip(*found, strict=True))
    return one, two, three


def random_weights(worker: Worker, network: str) -> Placed:
    """A network of the table with random weights, in the place of loaded ones."""
    spec, usual = NETWORKS[network], worker.place("default", "image", "deblur")
    torch.manual_seed(1)
    module = worker.device.place(spec.build(**spec.config or {})).eval()
    return Placed(replace(usual.loaded, module=module, spec=spec, network=network, name=network), module, worker.device)


def steps(worker: Worker) -> list[Table]:
    columns = {"network": "", "network's part (s)": ".2f", "convolution (s)": ".2f", "warps (s)": ".2f"}
    columns |= {"update, convolution : warps": "", "ratio": ".2f", "in the paper": "", "its ratio": ".2f"}
    table, flow = Table("an update", columns), flow_of("default", worker)
    for name, (conv, warp) in PAPER_SECONDS.items():
        placed = random_weights(worker, name) if name in NETWORKS else worker.place(name, "video", "deblur")
        own, by_conv, by_warp = update_seconds(placed, flow)
        whole = (own + by_conv, own + by_warp)
        written = "{:.2f} : {:.2f}".format
        shown = f"{placed.network}, flow {flow.name}"
        ratio, papers = whole[0] / whole[1], (written(conv, warp), conv / warp)
        table.add(shown, own, by_conv, by_warp, written(*whole), ratio, *papers)
    memory = Table(f"peak memory of blurring {PATCHES} patches again", {"model": "", "peak memory (MiB)": ".0f"})
    for words, model in (("convolution", "conv"), ("warps", "warp")):
        command = [sys.executable, "-c", MEMORY, model, str(PATCHES), str(SIDE)]
        memory.add(words, float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return [table, memory]


def filmed(photos: Sequence[Tensor], count: int, frames: int) -> dict[str, tuple[Frames, Frames]]:
    """Blurred and sharp frames of the first ``count`` of ``CLIPS``, by name."""
    kinds = {(clip.family, clip.kind): clip for clip in HALVES["judged"]}
    found = {}
    for number, key in enumerate(CLIPS[:count]):
        clip = replace(kinds[key], size=SIZE)
        photo, other = (photos[(number + step) % len(photos)] for step in (0, 1))
        found[" ".join(key)] = make(clip, photo, other, frames, number + 1, None)
    return found


def measured(
    network: Placed, worker: Worker, options: Reblur2DeblurOptions, clips: dict[str, tuple[Frames, Frames]], state: Path
) -> dict[tuple[str, str], float]:
    """PSNR by clip and variant; "" is the unadapted network. What is not in ``state`` is measured and added to it."""
    done: dict[tuple[str, str], float] = {}
    base = {"version": __version__, "network": network.name, "sha256": network.sha256, "steps": options.steps}
    if state.exists():
        for line in state.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if base.items() <= row.items():
                done[row["clip"], row["variant"]] = row["psnr"]

    def score(clip: str, variant: str, module: nn.Module) -> None:
        found = done[clip, variant] = psnr(network, module, *clips[clip], runs=4, length=1)
        print(f"{network.name}, {clip}, {variant or 'unadapted'}: {found:.3f} dB", file=sys.stderr, flush=True)
        with state.open("a", encoding="utf-8") as file:
            print(json.dumps(base | {"clip": clip, "variant": variant, "psnr": found}), file=file, flush=True)

    def adapted(*names: str, **changes: Any) -> nn.Module:
        footages = [PictureFootage(clips[name][0], name) for name in names]
        prepared = prepare(network, footages, replace(options, patches=options.patches * len(names), **changes), worker)
        assert prepared.outcome is not None
        if not prepared.outcome.kept:
            print(f"undone: {prepared.outcome.reason}", file=sys.stderr)
        return prepared.module

    for clip in clips:
        if (clip, "") not in done:
            score(clip, "", network.module)
        for variant, changes in VARIANTS.items():
            if (clip, variant) not in done:
                score(clip, variant, adapted(clip, **changes))
    if missing := [clip for clip in clips if (clip, GROUP) not in done]:
        module = adapted(*clips)
        for clip in missing:
            score(clip, GROUP, module)
    return done


def tables(worker: Worker, args: argparse.Namespace) -> list[Table]:
    clips = filmed(pictures(args.data, None, "judged"), args.clips, args.frames)
    options = Reblur2DeblurOptions(
        flow=args.flow,
        guard="off",
        initial="own",
        reblur_model="warp",
        steps=args.steps,
        batch=args.batch,
        crop=args.crop,
        patches=6,
        patch_size=128,
    )
    gains = {"network": "", "variant": "", "PSNR (dB)": ".2f", "gain (dB)": "+.3f", "gain of DBN in the paper": "+.3f"}
    models, frames = Table("models of blur (table 3)", gains), Table("frames (table 5)", gains)
    group = Table(
        "one clip or all (table 4)",
        {"network": "", "clip": "", "unadapted (dB)": ".2f", "alone (dB)": ".2f", "together (dB)": ".2f"},
    )
    found: dict[str, dict[tuple[str, str], float]] = {}
    for chosen in [name for name in (args.dbn, args.network) if name]:
        network = worker.place(str(chosen), "video", "deblur")
        card = network.loaded.card
        name = f"{network.network}, trained for {card['minutes']:.0f} minutes" if chosen == args.dbn else network.name
        found[name] = measured(network, worker, options, clips, args.state)
    for name, scores in found.items():
        for table, variants in (
            (models, ("convolution", "warps", "warps along a curve")),
            (frames, ("2 frames", "warps")),
        ):
            before = fmean(scores[clip, ""] for clip in clips)
            for variant in variants:
                after = fmean(scores[clip, variant] for clip in clips)
                words = "3 frames" if table is frames and variant == "warps" else variant
                paper = PAPER_GAINS.get(variant) if name.startswith("dbn") else None
                table.add(name, words, after, after - before, paper)
        columns = [[scores[clip, variant] for clip in clips] for variant in ("", "warps", GROUP)]
        for clip, *row in zip(clips, *columns, strict=True):
            group.add(name, clip, *row)
        group.add(name, "mean", *map(fmean, columns))
    return [models, frames, group]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("steps", "tables"))
    parser.add_argument("--data", type=Path, help="folder of training material, for the tables")
    parser.add_argument("--dbn", type=Path, help="weights of DBN, for the tables")
    parser.add_argument("--network", default="default", help="the other network of the tables; empty for none")
    parser.add_argument("--flow", default="default")
    parser.add_argument("--clips", type=int, default=len(CLIPS), help="clips of the tables")
    parser.add_argument("--frames", type=int, default=16, help="of a clip")
    parser.add_argument("--steps", type=int, default=60, help="updates")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--crop", type=int, default=96, help="side of what an update learns from, in pixels")
    parser.add_argument("--state", type=Path, default=FOLDER / "reblur2deblur.jsonl", help="what is done so far")


def run(args: argparse.Namespace) -> list[Table]:
    worker = Worker(ComputeOptions())
    if args.what == "steps":
        return steps(worker)
    if args.data is None:
        sys.exit("the tables need --data")
    return tables(worker, args)

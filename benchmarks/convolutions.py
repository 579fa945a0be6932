"""3x3 convolutions of the default networks in float32: directly, by minimal filtering, and by other libraries.

Each layer of the table stands for those of its kind in a frame of 1280x720; it is run as a chain of convolutions with a
ReLU behind each, so that what a library does at the ends of a network counts little. All ways run in turn, and the
quickest run of each counts. With one thread seconds are the processor's, so that other programs hardly count; with more
they are the clock's. Libraries that are not installed are left out (`pip install ncnn onnx onnxruntime openvino`).

The table's title has the instructions that torch uses. A processor with AVX-512 can be told to do with AVX2:
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2. ncnn, ONNX Runtime and OpenCV know no
such word, and go on with all that the processor has.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.adaptation_cost import LOCATIONS, OPTIONS, shaken_frames
from benchmarks.results import Table
from deblurcli.adaptation.guard import Guard
from deblurcli.adaptation.survey import survey
from deblurcli.console import Reporter
from deblurcli.methods.meta import adapt
from deblurcli.networks import winograd
from deblurcli.networks.minimal_filtering import transforms
from deblurcli.networks.winograd import Kernels
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore import convolutions, speed
from deblurcli.restore.measured import processor_seconds
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker

LAYERS = {
    "full scale": (128, 180, 320),
    "full scale, deep": (192, 90, 160),
    "fusion, deep": (96, 90, 160),
    "half scale": (128, 90, 160),
    "half scale, deep": (192, 45, 80),
    "a piece of 192 pixels": (128, 48, 48),
    "a piece of 192 pixels, deep": (192, 24, 24),
}
"""Channels, height and width."""
CHAIN = 3
MOST = {4: 144, 6: winograd.MOST}
"""Tiles in a block, by their side."""
NETWORKS = ("plain-unet", "video-unet")
CLIP = (360, 640, 36)
"""Height, width and frames of the video that is adapted to."""

Way = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Chain:
    """Convolutions with ReLUs, and their input, N x C x H x W in channels-last order."""

    layers: list[nn.Conv2d]
    x: Tensor
    threads: int

    @property
    def shape(self) -> list[int]:
        return list(self.x.shape)

    @property
    def plain(self) -> np.ndarray:
        """The input in the usual order."""
        return self.x.contiguous().numpy()

    def parameters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(layer.weight.contiguous().numpy(), layer.bias.numpy()) for layer in self.layers]  # type: ignore[union-attr]


def made(channels: int, height: int, width: int, threads: int) -> Chain:
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, channels, 3, padding=1).requires_grad_(False) for _ in range(CHAIN)]
    x = torch.randn(1, channels, height, width).contiguous(memory_format=torch.channels_last)
    return Chain([layer.to(memory_format=torch.channels_last) for layer in layers], x, threads)  # type: ignore[call-overload]


def direct(chain: Chain) -> Way:
    def run() -> np.ndarray:
        x = chain.x
        for layer in chain.layers:
            x = F.relu(layer(x), inplace=True)
        return x.numpy()

    return run


def filtered(chain: Chain, m: int) -> Way:
    """By minimal filtering with tiles of m x m, whatever their number."""
    kernels = [Kernels(layer.weight, transforms(m), MOST[m], pack=True) for layer in chain.layers]

    def run() -> np.ndarray:
        x = chain.x
        for layer, kernel in zip(chain.layers, kernels, strict=True):
            x = winograd.convolved(x, kernel, layer.bias, relu=True)
        return x.numpy()

    return run


def compiled(chain: Chain) -> Way:
    network = torch.compile(nn.Sequential(*(part for layer in chain.layers for part in (layer, nn.ReLU()))))
    return lambda: network(chain.x).numpy()


def onnx_model(chain: Chain) -> bytes:
    """The chain as an ONNX file from x to y."""
    import onnx
    from onnx import helper, numpy_helper

    nodes, weights, name = [], [], "x"
    for n, (weight, bias) in enumerate(chain.parameters()):
        weights += [numpy_helper.from_array(weight, f"w{n}"), numpy_helper.from_array(bias, f"b{n}")]
        nodes.append(helper.make_node("Conv", [name, f"w{n}", f"b{n}"], [f"c{n}"], pads=[1, 1, 1, 1]))
        name = "y" if n == CHAIN - 1 else f"r{n}"
        nodes.append(helper.make_node("Relu", [f"c{n}"], [name]))
    ends = [helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, chain.shape) for end in "xy"]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    found: bytes = model.SerializeToString()
    return found


def opencv(chain: Chain) -> Way:
    import cv2

    cv2.setNumThreads(chain.threads)
    network, x = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_model(chain), np.uint8)), chain.plain

    def run() -> np.ndarray:
        network.setInput(x)
        return np.asarray(network.forward())

    return run


def onnx_runtime(chain: Chain) -> Way:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = chain.threads
    session = onnxruntime.InferenceSession(onnx_model(chain), options, providers=["CPUExecutionProvider"])
    x = chain.plain
    return lambda: np.asarray(session.run(None, {"x": x})[0])


def openvino(chain: Chain) -> Way:
    import openvino as library

    core, x = library.Core(), chain.plain
    facts = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": chain.threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(onnx_model(chain)), "CPU", facts).create_infer_request()
    return lambda: np.asarray(request.infer({"x": x}, share_inputs=True, share_outputs=True)[0])


def ncnn(chain: Chain) -> Way:
    import ncnn as library

    lines, stored, name = ["7767517", f"{CHAIN + 1} {CHAIN + 1}", "Input x 0 1 x"], b"", "x"
    for n, (weight, bias) in enumerate(chain.parameters()):
        lines.append(f"Convolution c{n} 1 1 {name} r{n} 0={len(bias)} 1=3 4=1 5=1 6={weight.size} 9=1")
        stored, name = stored + bytes(4) + weight.tobytes() + bias.tobytes(), f"r{n}"
    network, x = library.Net(), chain.plain[0]
    network.opt.num_threads = chain.threads
    for what in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{what}", False)
    with tempfile.TemporaryDirectory() as work:
        for file, content in (("param", "\n".join([*lines, ""]).encode()), ("bin", stored)):
            (Path(work) / file).write_bytes(content)
        network.load_param(str(Path(work) / "param"))
        network.load_model(str(Path(work) / "bin"))

    def run() -> np.ndarray:
        extractor = network.create_extractor()
        extractor.input("x", library.Mat(x))
        return np.array(extractor.extract(name)[1])[None]

    return run


WAYS: dict[str, Callable[[Chain], Way]] = {
    "tiles of 4": lambda chain: filtered(chain, 4),
    "tiles of 6": lambda chain: filtered(chain, 6),
    "torch.compile": compiled,
    "OpenCV": opencv,
    "ncnn": ncnn,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino,
}


def seconds_of(act: Callable[[], object], threads: int) -> float:
    if threads == 1:
        return processor_seconds(act)
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def quickest(ways: Mapping[str, Callable[[], object]], rounds: int, threads: int) -> dict[str, float]:
    """Seconds of each way, run in turn."""
    found = dict.fromkeys(ways, math.inf)
    for _ in range(rounds):
        for name, way in ways.items():
            found[name] = min(found[name], seconds_of(way, threads))
    return found


def layer(name: str, size: tuple[int, int, int], threads: int, rounds: int) -> list[str | float | None]:
    """A row: milliseconds of a direct convolution, and how many times as fast the others are."""
    chain = made(*size, threads)
    ways, usual = {"direct": direct(chain)}, direct(chain)()
    for way, make in WAYS.items():
        try:
            ways[way] = make(chain)
        except ImportError:
            continue
        apart = float(np.abs(ways[way]() - usual).max() / np.abs(usual).max())
        if apart > 1e-3:
            raise RuntimeError(f"{way} is not the same function: {apart:.1e} apart")
    found = quickest(ways, rounds, threads)
    times = [found["direct"] / found[way] if way in found else None for way in WAYS]
    size_said = f"{size[0]} channels, {size[1]}x{size[2]}"
    return [name, size_said, str(threads), found["direct"] / CHAIN * 1e3, *times]


def both_ways(weights: str) -> tuple[Placed, Placed]:
    """A bundled network whose convolutions are direct, and the same by minimal filtering."""
    network = Worker(ComputeOptions(device="cpu", dtype="fp32")).place(weights, "video", "deblur")
    loaded = network.spec.build(**network.loaded.config).eval().requires_grad_(False)
    loaded.load_state_dict(network.module.state_dict())
    plain = network.device.place(loaded)
    kinds = convolutions.kinds_of(plain)
    return replace(network, module=plain), replace(network, module=winograd.quickened(copy.deepcopy(plain), kinds))


def _restore(restorer: Restorer, frames: list[Tensor], results: list[Tensor]) -> None:
    results.append(restorer(frames))


def restoring(networks: tuple[Placed, Placed], rounds: int, threads: int) -> tuple[dict[str, float], float]:
    """Seconds of a frame of a video of 1280x720 in both ways, and the largest difference of the results."""
    restorers = [Restorer(network.module, network.spec, network.device) for network in networks]
    coarse = torch.rand(1, 3, 94, 164, generator=torch.Generator().manual_seed(0))
    scene = F.interpolate(coarse, scale_factor=8.0, mode="bicubic")[0].clamp(0, 1)
    window = restorers[0].window
    frames = [scene[:, 2 * n : 2 * n + 720, 3 * n : 3 * n + 1280].contiguous() for n in range(rounds + window)]
    found, apart = dict.fromkeys(("direct", "filtered"), math.inf), 0.0
    for start in range(rounds + 1):
        shown: list[Tensor] = frames[start : start + window]
        results: list[Tensor] = []
        for name, restorer in zip(found, restorers, strict=True):
            spent = seconds_of(partial(_restore, restorer, shown, results), threads)
            if start:  # in the first round all frames of a window are new; later, as in a video, one is
                found[name] = min(found[name], spent)
        apart = max(apart, float((results[0] - results[1]).abs().max()))
    return found, apart


def adapting(networks: tuple[Placed, Placed], rounds: int, threads: int) -> tuple[int, dict[str, float]]:
    """Updates and seconds of the survey and the adaptation of ``--method meta``, from the networks' own weights.

    Rounding may decide where the guard ends the updates; here it looks, but both networks go on to the last one.
    """
    frames, taken, look = shaken_frames(*CLIP), set(), Guard.look

    def adapted(network: Placed) -> None:
        found = survey(frames, patches=LOCATIONS, size=OPTIONS.patch_size, seed=OPTIONS.seed)
        _, outcome = adapt(network, found, OPTIONS, Reporter.silent())
        taken.add(len(outcome.losses["deblur_losses"]))

    def looked(guard: Guard, step: int) -> bool:
        look(guard, step)
        return True

    ways = {name: partial(adapted, way) for name, way in zip(("direct", "filtered"), networks, strict=True)}
    with mock.patch.object(Guard, "look", looked):
        seconds = quickest(ways, rounds, threads)
    (updates,) = taken
    return updates, seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--adaptations", type=int, default=2, metavar="ROUNDS", help="of adapting to a video")
    parser.add_argument("--only", choices=("layers", "networks", "adapting"), default=None)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")


def run(options: argparse.Namespace) -> list[Table]:
    instructions = torch.backends.cpu.get_cpu_capability()
    columns = {"layer": "", "size": "", "threads": "", "direct (ms)": ".1f"}
    layers = Table(f"layers, {instructions}", columns | dict.fromkeys(WAYS, ".2f"))
    figures: dict[str, str] = {"direct (s)": ".2f", "filtered (s)": ".2f", "times as fast": ".2f"}
    networks = Table(
        f"networks, {instructions}", {"network": "", "work": "", "threads": "", **figures, "difference": ".1e"}
    )
    for threads in options.threads:
        torch.set_num_threads(threads)
        with torch.no_grad():
            for name, size in LAYERS.items() if options.only in (None, "layers") else ():
                layers.add(*layer(name, size, threads, options.rounds))
        for weights in options.networks if options.only in (None, "networks") else ():
            ways = both_ways(weights)
            found, apart = restoring(ways, options.rounds, threads)
            networks.add(weights, "a frame", str(threads), *found.values(), found["direct"] / found["filtered"], apart)
            updates: dict[str, Any] = {
                name: speed._updates(network)(192) for name, network in zip(found, ways, strict=True)
            }
            found = quickest(updates, 3 * options.rounds, threads)
            networks.add(weights, "an update", str(threads), *found.values(), found["direct"] / found["filtered"], None)
    clip = f"{CLIP[2]} frames of {CLIP[1]}x{CLIP[0]}"
    adaptations = Table(
        f"adapting to {clip}, {instructions}", {"network": "", "threads": "", "updates": "d", **figures}
    )
    for threads in options.threads if options.only in (None, "adapting") else ():
        torch.set_num_threads(threads)
        for weights in options.networks:
            steps, found = adapting(both_ways(weights), options.adaptations, threads)
            ratio = found["direct"] / found["filtered"]
            adaptations.add(weights, str(threads), steps, *found.values(), ratio)
    return [table for table in (layers, networks, adaptations) if table.rows]

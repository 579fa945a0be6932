"""What the fuzz suite damages: videos, pictures, weights, and what an interrupted run has left."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from unittest import mock

import av
import cv2
import numpy as np
import torch
from end_to_end import small_network
from fuzz import Content, content, judge, make_whole
from fuzzing import Draw, Said, damaged, judged
from interrupted import FRAMES, eventful, killed, short_segments

from deblurcli.cli.app import run
from deblurcli.media.images import Image, encoded


def command(said: Said, *words: object) -> tuple[int, str]:
    """The exit code of a command line, and what went to stderr."""
    code = run([str(word) for word in words])
    return code, said.take()[1]


class Videos:
    """Small clips of many codecs and containers, restored by a network that changes nothing."""

    def __init__(self, folder: Path, said: Said) -> None:
        self.said, self.network = said, small_network(folder / "w.safetensors")
        self.whole = {name: path.read_bytes() for name, path in made_once(folder / "whole").items()}
        self.known: dict[str, Content] = {}
        self.folder = folder

    def case(self, draw: Draw, folder: Path) -> str:
        name = sorted(self.whole)[draw.integers(len(self.whole))]
        if name not in self.known:
            self.known[name] = content(self.folder / "whole" / name)
        path, out = folder / name, folder / "out.mkv"
        path.write_bytes(damaged(self.whole[name], draw))
        options = ["--method", "none", "--network", self.network, "--codec", "ffv1", "--no-resume", "-q"]
        code, err = command(self.said, "video", path, "-o", out, *options)
        verdict = judged(code, err, (0, 3, 4))
        if "FAULT" in verdict:
            return verdict
        if code == 4:
            return f"{verdict}, FAULT: an output" if out.exists() else verdict
        with mock.patch("fuzz.complains", lambda path: False):
            found = judge(self.known[name], path, None)
        with av.open(str(out), metadata_errors="surrogateescape") as container:
            written = sum(bool(packet.size) for packet in container.demux(video=0))
        if written != len(content(path).frames):
            return f"FAULT {written} frames are written of {len(content(path).frames)}"
        return f"{verdict}, silent loss" if code == 0 and "silent" in found else verdict


def made_once(folder: Path) -> dict[str, Path]:
    """The whole clips, which the processes of one suite share."""
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        make_whole(folder)
        (folder / "made").touch()
    return {path.name: path for path in folder.iterdir() if path.suffix}


class Pictures:
    """A small picture in every format that is written, with metadata of two kinds."""

    def __init__(self, folder: Path, said: Said) -> None:
        self.said, self.network = said, small_network(folder / "w.safetensors")
        codes = np.random.default_rng(2).integers(0, 256, (48, 64, 4)).astype(np.uint8)
        flat = cv2.GaussianBlur(codes, (0, 0), 5)
        shown = {
            "noise": Image(codes[..., :3]),
            "soft": Image(flat[..., :3], flat[..., 3]),
            "grey": Image(flat[..., 0]),
        }
        shown["deep"] = Image(flat[..., :3].astype(np.uint16) * 257)
        self.whole: dict[str, bytes] = {}
        for (name, image), suffix in itertools.product(shown.items(), (".jpg", ".png", ".tif", ".webp", ".bmp")):
            if (name in ("soft", "deep") and suffix in (".jpg", ".bmp")) or (name, suffix) == ("deep", ".webp"):
                continue
            self.whole[f"{name}{suffix}"] = encoded(image, f"a{suffix}")[0]
        self.whole["two.gif"] = gif(flat)

    def case(self, draw: Draw, folder: Path) -> str:
        name = sorted(self.whole)[draw.integers(len(self.whole))]
        path, out = folder / name, folder / "out.png"
        path.write_bytes(damaged(self.whole[name], draw))
        code, err = command(self.said, "image", path, "-o", out, "--network", self.network, "-q")
        verdict = judged(code, err, (0, 3, 4))
        if out.exists() != (code != 4) or (out.exists() and cv2.imread(str(out)) is None):
            return f"FAULT {verdict}, but the output is not as it says"
        same = code == 0 and name.endswith(".png") and path.read_bytes() != self.whole[name]
        return f"{verdict}, silent loss" if same else verdict


def gif(codes: np.ndarray) -> bytes:
    """An animation of two frames, H x W x 4 each."""
    import pyvips

    frames = [pyvips.Image.new_from_array(np.ascontiguousarray(each)) for each in (codes, codes[::-1])]
    joined = frames[0].join(frames[1], "vertical").copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", codes.shape[0])
    return bytes(joined.write_to_buffer(".gif"))


class Weights:
    """A file of ours, a difference to it, and checkpoints of PyTorch in both forms."""

    def __init__(self, folder: Path, said: Said) -> None:
        self.said, ours = said, small_network(folder / "w.safetensors", 0.01)
        self.picture = folder / "p.png"
        cv2.imwrite(str(self.picture), np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8))
        state = {"params": {"a.weight": torch.zeros(3, 3), "a.bias": torch.ones(3)}}
        for name, new in (("new.pth", True), ("old.pth", False)):
            torch.save(state, folder / name, _use_new_zipfile_serialization=new)
        paths = [ours, *(folder / name for name in ("new.pth", "old.pth"))]
        self.whole = {path.name: path.read_bytes() for path in paths}

    def case(self, draw: Draw, folder: Path) -> str:
        name = ("w.safetensors", "w.safetensors", "new.pth", "old.pth")[draw.integers(4)]
        path, data = folder / name, self.whole[name]
        header = 8 + int.from_bytes(data[:8], "little")
        if name == "w.safetensors" and draw.random() < 0.7:  # most of it is numbers, of which any will do
            data = damaged(data[:header], draw) + data[header:]
        else:
            data = damaged(data, draw)
        path.write_bytes(data)
        if name != "w.safetensors":
            words = ["weights", "import", path, "--network", "plain-unet", "-o", folder / "out.safetensors"]
            code, err = command(self.said, *words)
            return judged(code, err, (6,))
        code, err = command(self.said, "weights", "info", path)
        verdict = judged(code, err, (0, 6))
        if "FAULT" in verdict:
            return verdict
        code, err = command(self.said, "image", self.picture, "-o", folder / "out.png", "--network", path, "-q")
        return judged(code, err, (0, 3, 6))


class Journals:
    """What a killed run has left, of which one file is damaged; the same command ends with the frames of a whole run,
    or refuses."""

    def __init__(self, folder: Path, said: Said) -> None:
        self.said, self.source = said, folder / "in.mkv"
        eventful(self.source)
        network = small_network(folder / "w.safetensors", 0.02)
        self.words = ["video", self.source, "--network", network, "--tile", "off", "--codec", "ffv1", "-q"]
        self.kinds = {"none": ["--method", "none"], "tta": ["--method", "tta", "--steps", "1", "--tta-frames", "1"]}
        self.left: dict[str, Path] = {}
        self.frames: dict[str, tuple[str, ...]] = {}
        for name, method in self.kinds.items():
            place = folder / f"journals-{name}"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            with short_segments():
                assert run([*map(str, [*self.words, *method, "-o", place / "whole.mkv"])]) == 0
            self.frames[name] = content(place / "whole.mkv").frames
            assert killed(*self.words, *method, "-o", place / "out.mkv", stage="encoding", number=2 * FRAMES + 2)
            self.left[name] = place / ".out.mkv.part"

    def case(self, draw: Draw, folder: Path) -> str:
        name = sorted(self.left)[draw.integers(len(self.left))]
        shutil.copytree(self.left[name], folder / ".out.mkv.part")
        paths = sorted(path for path in (folder / ".out.mkv.part").iterdir() if not path.name.startswith("."))
        path = paths[draw.integers(len(paths))]
        path.write_bytes(damaged(path.read_bytes(), draw))
        with short_segments():
            code, err = command(self.said, *self.words, *self.kinds[name], "-o", folder / "out.mkv")
        verdict = f"{judged(code, err, (0, 2))} ({path.name.split('-')[0]})"
        if code == 2 and "had" not in err:
            return f"FAULT {err}"
        if code == 0 and content(folder / "out.mkv").frames != self.frames[name]:
            return f"FAULT other frames than those of a whole run, after damage to {path.name}"
        return verdict

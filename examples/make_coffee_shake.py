"""Make examples/coffee-shake.mp4: a still photo filmed by an unsteady hand, with a tone as its sound.

    python examples/make_coffee_shake.py coffee.png examples/coffee-shake.mp4

The photo is coffee.png of the scikit-image package (CC0). Path, exposure and tone are made here.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import torch

from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.scenes import expose_scenes

SIZE, FRAMES, RATE, SAMPLES = (256, 448), 60, 25, 25
SHUTTER = 0.8
TREMOR = [(1.3, 26.0), (3.1, 11.0), (6.3, 3.5), (9.1, 1.5)]  # Hz, pixels


def hand_path(times: np.ndarray, seed: int = 5) -> np.ndarray:
    """x, y, angle and log zoom of a hand-held camera at the given times in seconds."""
    rng = np.random.default_rng(seed)
    path = np.zeros((len(times), 4))
    for hertz, pixels in TREMOR:
        for axis, reach in enumerate((pixels, pixels, np.deg2rad(pixels / 30), pixels / 4000)):
            path[:, axis] += reach * rng.uniform(0.5, 1) * np.sin(2 * np.pi * (hertz * times + rng.random()))
    return path


def main(photo: str, destination: str) -> None:
    picture = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
    response = Response(torch.tensor([2.2]), torch.tensor([1.5]))
    sensor = Sensor(noise=torch.tensor([0.003]), demosaiced=torch.tensor([1.0]), quality=torch.tensor([torch.inf]))
    light = response.linear(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    rng = np.random.default_rng(1)
    with av.open(destination, "w") as output:
        output.metadata["title"] = "Coffee, shaken"
        video = output.add_stream("libx264", rate=RATE, options={"crf": "16", "preset": "slow"})
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sound = output.add_stream("aac", rate=44100, layout="mono", bit_rate=64000)
        for index in range(FRAMES):
            times = (index + SHUTTER * np.linspace(-0.5, 0.5, SAMPLES)) / RATE
            camera = torch.from_numpy(hand_path(times)).float()[None]
            none, even = torch.zeros(0, dtype=torch.long), torch.ones(1, *SIZE)
            mean, _ = expose_scenes(light, torch.zeros(0, 4, *light.shape[-2:]), none, camera, camera, SIZE, even)
            shot = sensor.capture(response.display(mean), rng)
            pixels = (shot[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        output.mux(video.encode(None))
        seconds = np.arange(FRAMES * 44100 // RATE) / 44100
        pitch = 220 * 2 ** (np.floor(seconds * 4) % 5 / 5)
        tone = 0.2 * np.sin(2 * np.pi * pitch * seconds) * np.exp(-4 * (seconds * 4 % 1))
        for start in range(0, len(tone), 1024):
            piece = av.AudioFrame.from_ndarray(tone[None, start : start + 1024].astype(np.float32), "fltp", "mono")
            piece.sample_rate, piece.pts, piece.time_base = 44100, start, Fraction(1, 44100)
            output.mux(sound.encode(piece))
        output.mux(sound.encode(None))


if __name__ == "__main__":
    main(*sys.argv[1:])

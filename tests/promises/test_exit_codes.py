"""Promise 8: the exit code is the truth, one line says why, and standard output names the finished files alone."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import cut_tail, make_clip
from end_to_end import contents, deblur, small_network

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, where nobody can write")


def sound(path: Path) -> None:
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        block.sample_rate = 8000
        output.mux(stream.encode(block))
        output.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    good = make_clip(folder / "good.mp4", codec="libx264", audio=True)
    (folder / "text.mp4").write_text("this is not a video\n" * 20)
    (folder / "empty.mp4").touch()
    cut_tail(good, 0.6, folder / "cut.mp4")
    sound(folder / "sound.mka")
    return folder


OUT = "{folder}/out.mp4"
GOOD = "{folder}/good.mp4"
FAILURES: dict[str, tuple[str, int, str]] = {
    "missing": (f"nothing.mp4 -o {OUT}", 4, "does not exist"),
    "text": (f"{{folder}}/text.mp4 -o {OUT}", 4, "not a video"),
    "empty": (f"{{folder}}/empty.mp4 -o {OUT}", 4, "empty"),
    "truncated": (f"{{folder}}/cut.mp4 -o {OUT}", 4, "truncated"),
    "audio only": (f"{{folder}}/sound.mka -o {OUT}", 4, "no video"),
    "output is the input": (f"{GOOD} -o {GOOD} --overwrite", 2, "is the input"),
    "output exists": (f"{GOOD} -o {{folder}}/sound.mka", 2, "exists"),
    "no folder": (f"{GOOD} -o {{folder}}/no/out.mp4", 5, "does not exist"),
    "unwritable": (f"{GOOD} -o /proc/out.mp4", 5, "/proc"),
    "unknown container": (f"{GOOD} -o {{folder}}/out.xyz", 5, "xyz"),
    "unknown codec": (f"{GOOD} -o {OUT} --codec nonsense", 5, "nonsense"),
    "unknown method": (f"{GOOD} -o {OUT} --method magic", 2, "magic"),
    "unknown weights": (f"{GOOD} -o {OUT} --network plain-umet", 6, "plain-unet"),
    "missing weights": (f"{GOOD} -o {OUT} --network {{folder}}/w.safetensors", 6, "cannot be read"),
    "needs the internet": (f"{GOOD} -o {OUT} --network nafnet-w32 --offline", 7, "deblur weights pull nafnet-w32"),
    "absent device": (f"{GOOD} -o {OUT} --device cuda:99", 8, "not present"),
}
"""What is wrong: arguments after ``deblur video``, the exit code, words of the message."""


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_one_code_and_no_file(
    folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    arguments, code, words = FAILURES[name]
    before = contents(folder)
    method = [] if "--method" in arguments else ["--method", "none"]
    assert deblur("video", *method, *arguments.format(folder=folder).split()) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("deblur: "), err
    assert words in err and "Traceback" not in err, err
    assert contents(folder) == before


def test_an_unexpected_error_is_1(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deblurcli.jobs.video import VideoJob

    monkeypatch.setattr(VideoJob, "run", lambda *_: 1 / 0)
    assert deblur("video", folder / "good.mp4", "-o", tmp_path / "out.mp4") == 1


def test_of_a_batch_each_file_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0: all are done; 3: some; the code of the failure if all failed for one reason."""
    network = small_network(tmp_path / "w.safetensors")
    for name in ("a", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 60, 3), 99, np.uint8))
    options = ["--network", network, "-q"]
    out = tmp_path / "out"
    assert deblur("image", tmp_path / "a.png", tmp_path / "c.png", "-o", f"{out}/", *options) == 0
    assert capsys.readouterr().out.splitlines() == [f"{out}/a.png", f"{out}/c.png"]
    (tmp_path / "b.png").write_bytes(b"not an image")
    assert deblur("image", tmp_path, "-o", f"{out}/", "--overwrite", *options) == 3
    stdout, stderr = capsys.readouterr()
    assert stdout.splitlines() == [f"{out}/a.png", f"{out}/c.png"] and "b.png" in stderr
    assert deblur("image", tmp_path / "b.png", "-o", f"{out}/", *options) == 4
    assert capsys.readouterr().out == ""

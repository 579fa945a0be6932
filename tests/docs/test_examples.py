"""The example scripts of docs/python.md run, are quoted there word for word, and are what type checkers accept."""

from __future__ import annotations

import itertools
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from documents import DOCUMENTS, ROOT, blocks, name_of

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
CLIP = ROOT / "examples" / "coffee-shake.mp4"
SIZE = (96, 128)
"""Height and width of the clips that the scripts work on."""


def pictures(count: int) -> list[np.ndarray]:
    with av.open(str(CLIP)) as container:
        return [f.to_ndarray(format="rgb24") for f in itertools.islice(container.decode(video=0), count)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with all that the scripts read, as the current one."""
    frames = pictures(6)
    with av.open(str(tmp_path / "in.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            piece = np.ascontiguousarray(frame[80 : 80 + SIZE[0], 180 : 180 + SIZE[1]])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(piece, "rgb24")))
        output.mux(stream.encode(None))
    for name in ("out.mp4", "sharp.mp4"):
        shutil.copy(tmp_path / "in.mp4", tmp_path / name)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photo.png"), frames[0][:208, 100:332, ::-1])
    cv2.imwrite(str(tmp_path / "photos" / "one.png"), frames[0][..., ::-1])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, folder, capsys):
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_imports_is_there(path):
    runpy.run_path(str(path), run_name="imported")


def test_python_in_documents_is_an_example_or_runs(folder):
    scripts = {path.read_text(encoding="utf-8") for path in EXAMPLES}
    quoted = set()
    for document in DOCUMENTS:
        for code in blocks(document, "python"):
            if code in scripts:
                quoted.add(code)
            else:
                exec(compile(code, name_of(document), "exec"), {"frame": pictures(1)[0][:64, :96]})
    assert quoted == scripts, "quote every example in docs/python.md as it is"


def checked(*paths: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of scripts; the package's own errors are not theirs."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280)


def test_the_examples_are_typed_and_a_misspelled_keyword_is_found(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import deblurcli\n"
        "deblurcli.deblur_video('in.mp4', 'out.mp4', methd='meta')\n"
        "deblurcli.adapt([], methd='meta')\n"
        "deblurcli.measure('out.mp4', ssim_mod='luma')\n"
    )
    run = checked(*EXAMPLES, wrong)
    assert run.returncode == 1
    found = [line for line in run.stdout.splitlines() if ": error:" in line]
    assert len(found) == 3, run.stdout
    for number, line in enumerate(found, 2):
        assert f"wrong.py:{number}: error: Unexpected keyword argument" in line


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "deblurcli" / "py.typed").exists()

"""Files that were once handled badly: each ends with a code of ours and one line."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from end_to_end import deblur, small_network

from deblurcli.media.probe import probe
from deblurcli.media.reader import VideoReader

CORPUS = Path(__file__).with_name("corpus")
CODES = {"packet-of-39-gigabytes.mp4": 4}
"""What each ends with; memory that a file only claims to need is no lack of memory, which would be 8."""


def test_every_file_is_listed() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(CODES)


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_the_file_is_refused(name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = small_network(tmp_path / "w.safetensors")
    words = ["video", CORPUS / name, "-o", tmp_path / "out.mkv", "--method", "none", "--network", network, "-q"]
    assert deblur(*words) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out.mkv").exists()


def test_a_real_lack_of_memory_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deblurcli.device.free_system_memory", lambda: 100 << 20)
    probe(CORPUS / "packet-of-39-gigabytes.mp4")
    with VideoReader(CORPUS / "packet-of-39-gigabytes.mp4") as reader, pytest.raises(av.error.MemoryError):
        list(reader.frames())

"""Files, folders and patterns: what they stand for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deblurcli.errors import InputError, UsageError
from deblurcli.jobs.plan import plan
from deblurcli.media.inputs import Medium, expand, is_pattern

SUFFIXES = {".png", ".jpg"}
PICTURES = Medium("image", "image", frozenset(SUFFIXES), ".png")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        *("in [x]/1.png", "in [x]/2.JPG", "in [x]/._1.png", "in [x]/.hidden.png", "in [x]/notes.txt"),
        *("in [x]/deep/1.png", "in [x]/deep/er/3.png", "in [x]/.git/4.png", "in x/5.png", "[odd].png"),
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("void").mkdir()
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.as_posix() for path in paths]


def test_a_folder_stands_for_its_visible_media() -> None:
    assert names(expand(["in [x]"], SUFFIXES)) == ["in [x]/1.png", "in [x]/2.JPG"]


def test_recursive_takes_the_folders_in_a_folder() -> None:
    found = ["in [x]/1.png", "in [x]/2.JPG", "in [x]/deep/1.png", "in [x]/deep/er/3.png"]
    assert names(expand(["in [x]"], SUFFIXES, recursive=True)) == found


def test_each_file_once_and_in_order(tree: Path) -> None:
    assert names(expand(["[odd].png", Path("in x"), "in x/*.png"], SUFFIXES)) == ["[odd].png", "in x/5.png"]
    assert names(expand([tree / "*" / "5.png"], SUFFIXES)) == [(tree / "in x" / "5.png").as_posix()]


def test_brackets_of_a_name_are_not_a_pattern() -> None:
    assert names(expand(["[odd].png"], SUFFIXES)) == ["[odd].png"]
    assert names(expand(["in [x]/*.png"], SUFFIXES)) == ["in [x]/1.png"]
    assert names(expand(["in [xyz]/*.png"], SUFFIXES)) == ["in x/5.png"]
    assert is_pattern("in [xyz]") and not is_pattern("in [x]")


def test_hidden_files_match_only_when_asked_for() -> None:
    assert names(expand(["in [x]/.h*"], SUFFIXES)) == ["in [x]/.hidden.png"]
    assert "in [x]/.git/4.png" not in names(expand(["**/*.png"], SUFFIXES))


def test_a_pattern_of_folders_stands_for_what_is_in_them() -> None:
    assert names(expand(["in*"], SUFFIXES)) == ["in [x]/1.png", "in [x]/2.JPG", "in x/5.png"]
    assert names(expand(["in [x]/**/*.png"], SUFFIXES)) == ["in [x]/1.png", "in [x]/deep/1.png", "in [x]/deep/er/3.png"]


def test_what_stands_for_nothing_stays() -> None:
    assert names(expand(["gone.png", "*.tif", "void"], SUFFIXES)) == ["gone.png", "*.tif", "void"]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@pytest.mark.timeout(20)
def test_links_that_loop_are_gone_through_once() -> None:
    for name in ("a", "b"):
        Path("in x", name).symlink_to(Path.cwd(), target_is_directory=True)
    assert names(expand(["in x"], SUFFIXES, recursive=True))[0] == "in x/5.png"
    found = expand(["."], SUFFIXES, recursive=True)
    assert len(found) == len({path.resolve() for path in found}) == 6
    assert {path.resolve() for path in expand(["**/*.png"], SUFFIXES)} == {
        path.resolve() for path in found if path.suffix == ".png"
    }


def test_what_cannot_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="an input is empty"):
        expand([""], SUFFIXES)
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        expand(["x" * 300], SUFFIXES)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    for given in ("in x", "in x/*.png"):
        with pytest.raises(InputError, match="in x cannot be read: Permission denied"):
            expand([given], SUFFIXES)


def written(inputs: list[str], output: str, recursive: bool = True) -> list[str]:
    return names([destination for _, destination in plan(inputs, output, PICTURES, SUFFIXES, recursive).pairs])


def test_outputs_keep_the_tree_below_the_folder() -> None:
    found = ["out/1.png", "out/2.JPG", "out/deep/1.png", "out/deep/er/3.png"]
    assert written(["in [x]"], "out/") == found
    assert written(["in [x]"], "out") == found
    with pytest.raises(UsageError, match=r"would both be written as out/1\.png"):
        written(["in [x]", "in [x]/deep"], "out")


def test_an_output_folder_inside_the_input_is_not_an_input() -> None:
    before = written(["."], "out/")
    for name in before:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert written(["."], "out/") == before
    with pytest.raises(InputError, match="every image of void lies in the output folder void/out/; give another -o"):
        Path("void/out").mkdir()
        Path("void/out/1.png").touch()
        plan(["void"], "void/out/", PICTURES, SUFFIXES, recursive=True)


def test_a_pattern_without_a_match_is_said_as_such() -> None:
    for output in ("out", "out.png"):
        with pytest.raises(InputError, match=r"the pattern \*\.tif matches no image"):
            plan(["*.tif"], output, PICTURES, SUFFIXES)

"""What a file may do and how it is written: who touches files, who prints, how long it is, how its prose begins."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import MODULES, NAMES, PACKAGE, docstrings, imports, layer_of, parse

MAX_LINES = 400
LONG: set[str] = set()
"""Longer files that must stay one: none."""
WRITERS = {
    "files.py": "the atomic writer",
}
"""Modules that open files for writing, and why each must."""
WRITE_METHODS = {"write_text", "write_bytes", "imwrite", "savez", "savez_compressed", "save_file", "mkstemp", "touch"}

module = pytest.mark.parametrize("path", MODULES, ids=NAMES)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def writes(tree: ast.AST) -> Iterator[str]:
    """Calls that make a file or change its content: line and code."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, code = ast.unparse(node.func), ast.unparse(node)
        if "os.devnull" in code or "BytesIO" in code:
            continue
        last = called.rpartition(".")[2]
        words = [*node.args, *(k.value for k in node.keywords if k.arg == "mode")]
        modes = [w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str)]
        if node.args and ast.unparse(node.args[0]).endswith((".file", "BytesIO()")):
            continue  # what the atomic writer has opened, or memory
        writing = any(re.fullmatch("[rwxabt+]{1,3}", m) and set(m) & set("wxa+") for m in modes)
        opened = last in ("open", "Part") and writing
        low = called == "os.open" and re.search("O_(WRONLY|RDWR|CREAT)", code)
        saved = called in ("torch.save", "np.save", "safetensors.torch.save_file")
        if opened or low or saved or last in WRITE_METHODS:
            yield f"line {node.lineno}: {code}"


def without_main(tree: ast.Module) -> ast.Module:
    body = [n for n in tree.body if not (isinstance(n, ast.If) and "__main__" in ast.unparse(n.test))]
    return ast.Module(body, [])


def prints(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "input"):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def picture_files(source: str, computes: bool) -> list[str]:
    """What in a module's source reads or writes pictures and videos; ``computes``: cv2 may do arithmetic there."""
    found = re.findall(r"cv2\.(?:im(?:read|write|decode|encode)|Video(?:Capture|Writer))", source)
    libraries = {i.name.split(".")[0] for i in imports(ast.parse(source))}
    return found + sorted(libraries & ({"av", "pyvips"} if computes else {"av", "cv2", "pyvips"}))


@module
def test_only_media_touches_files_of_pictures(path: Path) -> None:
    if layer_of(path) != "media":
        source = path.read_text(encoding="utf-8")
        assert not picture_files(source, computes=layer_of(path) in ("synth", "metrics", "adaptation", "restore"))


@module
def test_only_the_atomic_writer_opens_files_for_writing(path: Path) -> None:
    if name_of(path) not in WRITERS:
        assert not list(writes(parse(path)))


def test_the_list_of_writers_is_no_longer_than_it_must_be() -> None:
    assert all(list(writes(parse(PACKAGE / name))) for name in WRITERS)


@module
def test_only_the_reporter_and_the_commands_print(path: Path) -> None:
    if layer_of(path) not in ("cli", "console"):
        assert not list(prints(without_main(parse(path))))


def future(tree: ast.Module) -> bool:
    return any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in tree.body)


@module
def test_annotations_are_postponed(path: Path) -> None:
    assert future(parse(path)) or not any(not isinstance(n, ast.Expr) for n in parse(path).body)


@module
def test_files_can_be_read_at_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES or name_of(path) in LONG, f"{lines} lines"
    assert name_of(path) not in LONG or lines > MAX_LINES, "no longer long"


def weak(text: str) -> bool:
    """A docstring that starts with "Of" says whose it is, not what it is."""
    return text.lstrip().startswith("Of ")


@module
def test_docstrings_say_what_a_thing_is(path: Path) -> None:
    assert not [f"line {line}: {text[:60]}" for line, text in docstrings(parse(path)) if weak(text)]


def test_the_rules_can_fail() -> None:
    bad = [
        "open(path, 'w')",
        "path.open('xb')",
        "path.open(mode='r+')",
        "path.write_text(text)",
        "av.open(name, 'w', format='matroska')",
        "os.open(part, os.O_CREAT | os.O_WRONLY)",
        "torch.save(state, path)",
        "save_file(tensors, path)",
        "np.savez(path, a=a)",
    ]
    for code in bad:
        assert len(list(writes(ast.parse(code)))) == 1, code
    for code in (
        "open(path)",
        "path.open('rb')",
        "av.open(name)",
        "os.open(folder, os.O_DIRECTORY)",
        "opened('w')",
        "av.open(io.BytesIO(), 'w')",
    ):
        assert not list(writes(ast.parse(code))), code
    assert picture_files("import cv2\ncv2.imread(name)", computes=True) == ["cv2.imread"]
    assert picture_files("import av, cv2", computes=False) == ["av", "cv2"]
    assert picture_files("import cv2\ncv2.resize(a)", computes=True) == []
    assert len(list(prints(ast.parse("print(1)\nsys.stderr.write('x')\nreport.note('x')")))) == 2
    assert not list(prints(without_main(ast.parse("if __name__ == '__main__':\n print(1)"))))
    assert future(ast.parse("from __future__ import annotations")) and not future(ast.parse("import os"))
    code = '"""Of a file."""\nclass A:\n    x: int\n    """Of x."""\n    def f(self):\n        """Often."""'
    assert [(line, weak(text)) for line, text in docstrings(ast.parse(code))] == [(1, True), (4, True), (6, False)]

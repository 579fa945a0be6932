"""The rings of the program: imports run one way, heavy libraries load late, and one module talks to the terminal."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "deblurcli"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the outermost ring to the innermost; a module may import its own package and any later line.
LAYERS = [
    {"cli"},
    {"api"},
    {"jobs"},
    {"methods", "train", "reports"},
    {"adapt"},
    {"restore"},
    {"media", "weights", "datasets"},
    {"synth", "metrics", "losses", "device"},
    {"networks"},
    {"options", "console"},
    {"errors", "version"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ROOT = ("__init__", "__main__")  # the public face: anything, lazily
HEAVY = {"torch", "av", "cv2", "numpy", "kornia", "safetensors", "huggingface_hub", "rich"}
LIGHT = ("cli", "options", "console", "errors", "version")


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a piece of code imports, wherever it does; names of our own package in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            if node.module == "deblurcli":
                yield from (f"deblurcli.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def at_module_level(tree: ast.Module) -> ast.Module:
    """The code that runs on import."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else node

    return Strip().visit(tree)


def without_main(tree: ast.Module) -> ast.Module:
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "__main__" in ast.unparse(n.test))]
    return tree


@pytest.fixture(params=MODULES, ids=[str(p.relative_to(PACKAGE)) for p in MODULES])
def module(request) -> Path:
    return request.param


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_module_has_a_layer(module):
    assert layer_of(module) in RANK or layer_of(module) in ROOT
    assert module.name != "utils.py"


def test_imports_run_one_way(module):
    own = layer_of(module)
    if own in ROOT:
        return
    for name in imports(parse(module)):
        if name.startswith("deblurcli."):
            target = name.split(".")[1]
            assert target == own or RANK[target] > RANK[own], f"{own} imports {name}"


def test_only_media_touches_files_of_pictures(module):
    if layer_of(module) == "media":
        return
    inside = {name.split(".")[0] for name in imports(parse(module))}
    # Synthesis, metrics and the survey compute with cv2; files are media's alone.
    assert not inside & ({"av"} if layer_of(module) in ("synth", "metrics", "adapt") else {"av", "cv2"})
    assert not re.search(r"cv2\.(im(read|write|decode|encode)|Video(Capture|Writer))", module.read_text())


def test_the_outer_rings_load_nothing_heavy(module):
    if layer_of(module) not in LIGHT:
        return
    for name in imports(at_module_level(parse(module))):
        assert name.split(".")[0] not in HEAVY
        assert not name.startswith("deblurcli.") or name.split(".")[1] in LIGHT, f"{name} is imported at once"


def test_only_the_reporter_and_the_commands_print(module):
    if layer_of(module) in ("cli", "console"):
        return
    for node in ast.walk(without_main(parse(module))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "typer.echo", "input"), f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in ("sys.stdout", "sys.stderr"), f"line {node.lineno}"


def test_the_rules_can_fail():
    assert list(imports(ast.parse("def f():\n from deblurcli import api\n import av.stream"))) == [
        "deblurcli.api",
        "av.stream",
    ]
    assert not list(imports(at_module_level(ast.parse("def f():\n import torch\nif TYPE_CHECKING:\n import torch"))))
    assert list(imports(at_module_level(ast.parse("if True:\n import torch")))) == ["torch"]

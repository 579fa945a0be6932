"""The package's source as a graph: its modules, what each imports and when, and what a module's own code says."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "deblurcli"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]
"""Paths inside the package, as tests name them: "media/reader.py"."""


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    """The module's name: media/__init__.py is deblurcli.media."""
    return ".".join(("deblurcli", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


@dataclass(frozen=True)
class Import:
    name: str
    """Dotted; of ``from a.b import c`` both a.b and a.b.c are one import, named a.b.c."""
    line: int
    lazy: bool
    """Inside a function: it happens when that is called."""
    typing: bool
    """Under TYPE_CHECKING: it never happens."""


def imports(tree: ast.AST, lazy: bool = False, typing: bool = False) -> Iterator[Import]:
    """Everything that a piece of code imports, wherever it does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, lazy, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (Import(f"{node.module}.{alias.name}", node.lineno, lazy, typing) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(node, lazy, True)
        else:
            yield from imports(node, lazy or isinstance(node, ast.FunctionDef | ast.Lambda), typing)


def own(name: str) -> bool:
    return name.split(".")[0] == "deblurcli"


def target(name: str, modules: set[str]) -> str:
    """The module of the package that a dotted name lies in: deblurcli.errors for deblurcli.errors.InputError."""
    while name not in modules:
        name = name.rpartition(".")[0]
        assert name, "imports a module that does not exist"
    return name


def graph(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module name -> the modules of the package that it imports, at once, lazily or for types."""
    modules = set(trees)
    return {
        name: {target(i.name, modules) for i in imports(tree) if own(i.name)} - {name} for name, tree in trees.items()
    }


def loaded_at_once(name: str, trees: dict[str, ast.Module]) -> set[str]:
    """The modules of the package, and other packages by their first name, that importing a module loads."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        module = waiting.pop()
        found.add(module)
        if module in trees:
            now = [i.name for i in imports(trees[module]) if not (i.lazy or i.typing)]
            named = {target(n, set(trees)) if own(n) else n.split(".")[0] for n in now}
            parts = module.split(".")
            waiting |= (named | {".".join(parts[:n]) for n in range(1, len(parts))}) - found
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of one circle in order, the first repeated at the end; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for following in sorted(edges.get(name, ())):
            if found := walk(following, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := walk(name, []))), [])


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring: of modules, classes and functions, and those under attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for statement in node.body:
                value = statement.value if isinstance(statement, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield statement.lineno, value.value

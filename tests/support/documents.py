"""The documents of the project, and what they are made of: code blocks, links, headings, command lines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", "benchmarks/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
"""Every document that people read; CHANGELOG.md alone speaks of other versions."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?:^|&& |if |do |-m )(deblur(?:cli)? [^&|;#\n]+)", re.MULTILINE)
_REDIRECTION = re.compile(r"\d?>>? *\S+")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, *languages: str) -> list[str]:
    """The code blocks of a document in one of these languages."""
    return [code for language, code in _BLOCK.findall(text_of(path)) if language in languages]


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return _BLOCK.sub("", text_of(path))


def command_lines(path: Path) -> list[str]:
    """Every ``deblur ...`` in the shell blocks of a document: variables put in, without comments and redirections."""
    code = "\n".join(blocks(path, "sh", "bash")).replace("\\\n", " ")
    for name, value in re.findall(r"^([A-Z]+)=\"(.*)\"$", code, re.MULTILINE):
        code = code.replace(f"${name}", value)
    return [_REDIRECTION.sub("", line).strip() for line in _COMMAND.findall(code)]


def links(path: Path) -> list[str]:
    """The targets of a document's links and pictures that lie in the project: ``file#heading``, either part alone."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in found if not target.startswith(("http:", "https:", "mailto:"))]


def anchors(path: Path) -> set[str]:
    """What a link may name after ``#``: the headings, as code hosts spell them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

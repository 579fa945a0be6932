"""``python -m benchmarks``: list, run, or write the tables of the documents."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import BENCHMARKS, document, results


def parser_of(name: str, module: Any) -> argparse.ArgumentParser:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(
        f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def told(word: str) -> str:
    """A word of the command as it is stored: of a path into one machine's folders its last name alone."""
    return Path(word).name if Path(word).is_absolute() else word


def main(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print("python -m benchmarks NAME [ARGUMENTS]   run one of these (--help says what it takes)")
        print("python -m benchmarks tables             write tables and chart of the documents from the results\n")
        print("\n".join(f"{name:16} {what}" for name, what in BENCHMARKS.items()))
        return 0
    name, arguments = words[0], words[1:]
    if name == "tables":
        print(f"the documents' tables and chart: {'changed' if document.update() else 'up to date'}")
        return 0
    if name not in BENCHMARKS:
        print(f"there is no benchmark {name}; they are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{name}")
    if tables := module.run(parser_of(name, module).parse_args(arguments)):
        print(results.write(name, tables, f"python -m benchmarks {shlex.join(map(told, words))}"), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

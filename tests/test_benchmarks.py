"""The benchmarks: each can be started, results are data, and the document shows what the results say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
RESULTS = sorted((FOLDER / "results").rglob("*.json"))


def python(code: str) -> str:
    """What a script prints that is run in the repository, where the package `benchmarks` is."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_benchmark_is_listed_and_can_be_started() -> None:
    """Each module is imported, and says what it takes."""
    found = python(
        """
        import importlib
        from benchmarks import BENCHMARKS
        from benchmarks.__main__ import parser_of
        for name in BENCHMARKS:
            module = importlib.import_module(f"benchmarks.{name}")
            assert callable(module.run) and module.__doc__.splitlines()[0] in parser_of(name, module).format_help()
            print(name)
        """
    ).split()
    helpers = {
        "__init__",
        "__main__",
        "cameras",
        "chart",
        "clips",
        "document",
        "real_videos",
        "results",
        "unknown_cameras",
    }
    assert set(found) | helpers == {path.stem for path in FOLDER.glob("*.py")} and not set(found) & helpers


def test_the_list_loads_nothing_heavy() -> None:
    code = "import sys; from benchmarks.__main__ import main; main([]); print('torch' in sys.modules)"
    *lines, heavy = python(code).splitlines()
    assert heavy == "False" and any(line.startswith("quality ") for line in lines)


def test_the_comparison_with_a_card_has_pictures_for_every_network() -> None:
    """As many as each takes, in a size that it takes: shapes alone, without a step of arithmetic."""
    found = python(
        """
        from torch._subclasses.fake_tensor import FakeTensorMode
        from benchmarks.gpu import SIDE, noise
        from deblurcli.networks import NETWORKS
        with FakeTensorMode():
            for name, spec in NETWORKS.items():
                spec.build(**(spec.config or {})).eval()(*noise(spec, SIDE, SIDE))
                print(name)
        """
    ).split()
    assert "kernel-extractor" in found and "lpips-vgg" in found


def test_unknown_names_are_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "qualty"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "there is no benchmark qualty" in run.stderr and "quality" in run.stderr


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_stored_commands_name_no_folder_of_one_machine(path: Path) -> None:
    commands = [table["command"] for table in json.loads(path.read_text())["tables"].values()]
    assert commands and not [word for command in commands for word in command.split() if word.startswith("/")]


def test_the_document_is_up_to_date() -> None:
    code = """
        from benchmarks import document
        text = document.DOCUMENT.read_text(encoding="utf-8")
        assert document.rendered(text) == text, "run python -m benchmarks tables"
        changed = text.replace("| 0.837 |", "| 0.738 |").replace("| `quality` |", "| `quantity` |")
        assert changed != text and document.rendered(changed) == text, "the check cannot fail"
        for path in document.OTHERS:
            text = path.read_text(encoding="utf-8")
            assert document.MARK.search(text) and document.rendered(text) == text, f"{path}: benchmarks tables"
        assert document.CHART.read_text(encoding="utf-8") == document.chart(), "run python -m benchmarks tables"
    """
    python(code)


def test_a_chart_has_a_bar_for_each_row_as_long_as_its_figure() -> None:
    code = """
        import re
        from xml.etree import ElementTree
        from benchmarks.chart import BAR, bars
        from benchmarks.results import Table
        rows = [["net <a>", 30.0, 0.75], ["x", 10.0, 0.25]]
        table = Table("parts", {"what": "", "time (ms)": ".1f", "share": ".1%"}, rows)
        tree = ElementTree.fromstring(bars(table, "Time & more"))
        _, *drawn = [float(each.get("width")) for each in tree if each.tag.endswith("rect")]
        assert drawn == [BAR, round(BAR / 3, 1)]
        print([each.text for each in tree if each.tag.endswith("text")])
    """
    assert python(code) == "['Time & more', 'net <a>', '30.0 ms, 75.0%', 'x', '10.0 ms, 25.0%']\n"


def test_every_stored_table_is_shown() -> None:
    marks = set(re.findall(r"<!-- (\w+): (.+?) -->", (FOLDER / "README.md").read_text(encoding="utf-8")))
    stored = {(path.stem, title) for path in RESULTS for title in json.loads(path.read_text())["tables"]}
    assert marks == stored


@pytest.mark.parametrize("path", RESULTS, ids=[f"{p.parent.name}/{p.stem}" for p in RESULTS])
def test_results_say_what_they_are(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["benchmark"], content["version"]) == (path.stem, path.parent.name)
    for title, facts in content["tables"].items():
        assert facts["command"].startswith(f"python -m benchmarks {path.stem}") or facts["measured"], title
        assert facts["processor"] and (facts["date"] or facts["measured"]), title
        assert facts["rows"] and all(len(row) == len(facts["columns"]) for row in facts["rows"]), title


def test_a_table_prints_and_keeps_its_rows(tmp_path: Path) -> None:
    """A new run replaces the table of the same title, and leaves the others."""
    code = f"""
        import json
        from pathlib import Path
        from benchmarks import results
        results.FOLDER = Path({str(tmp_path)!r})
        for seconds in (1.23456789, 2.0):
            one, other = results.Table("a", {{"what": "", "time (s)": ".2f"}}), results.Table("b", {{"n": "d"}})
            one.add("net", seconds)
            one.add("none", None)
            other.add(3)
            file = results.write("speed", [one, other], "python -m benchmarks speed")
            results.write("speed", [one], "python -m benchmarks speed 2")
        stored = json.loads(file.read_text())
        assert stored["tables"]["a"]["rows"] == [["net", 2.0], ["none", None]]
        assert stored["tables"]["b"]["command"] == "python -m benchmarks speed"
        assert results.table("speed", "a").markdown().splitlines()[-2:] == ["| net | 2.00 |", "| none |  |"]
    """
    assert python(code).splitlines()[:4] == ["| what | time (s) |", "|---|---|", "| net | 1.23 |", "| none |  |"]

"""The recipes for clusters follow the exit codes; SLURM's is run with stand-ins for its programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from documents import ROOT, blocks, text_of

from deblurcli.errors import RETRY, may_pass
from deblurcli.jobs.shards import SCHEDULERS

PAGE = ROOT / "docs" / "machines.md"


def test_kubernetes_retries_where_a_retry_may_help():
    (recipe,) = blocks(PAGE, "yaml")
    spec = yaml.safe_load(recipe)["spec"]
    rules = {rule["action"]: rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule}
    ended = [code for rule in rules.values() for code in rule["values"]]
    assert sorted(ended) == [code for code in RETRY if code and not may_pass(code)]
    assert all(rule["operator"] == "In" and rule["values"] == sorted(rule["values"]) for rule in rules.values())
    assert rules["FailJob"]["values"] == [2]
    (container,) = spec["template"]["spec"]["containers"]
    assert f"auto/{spec['completions']}" in container["args"] and spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
@pytest.mark.parametrize("code", [0, *(code for code in RETRY if code in (3, 4, 7, 8, 9, 143))])
@pytest.mark.parametrize("restarts", [None, "5"])
def test_slurm_queues_a_task_again_where_a_retry_may_help(tmp_path: Path, code: int, restarts: str | None) -> None:
    (recipe,) = blocks(PAGE, "bash")
    for name, line in (("srun", f"exit {code}"), ("scontrol", f'echo "$@" >> {tmp_path}/queued')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "5", "SLURM_CPUS_PER_TASK": "8"}
    variables |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | ({"SLURM_RESTART_COUNT": restarts} if restarts else {})
    run = subprocess.run(["bash", "-eu", "-c", recipe], env=variables, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (code, "")
    queued = (tmp_path / "queued").read_text() if (tmp_path / "queued").exists() else ""
    assert queued == ("requeue 77_5\n" if may_pass(code) and restarts is None else "")


def test_the_variables_are_those_that_are_asked():
    for each in SCHEDULERS:
        assert each.index in text_of(PAGE), each.name

"""The command as its own process: start-up, signals, pipes, completion."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

# Imported by the child before the command runs: jobs that work for a minute, or print much.
FAKE = textwrap.dedent(
    """
    import signal, sys, time, types
    from dataclasses import make_dataclass
    # A shell starts background jobs with SIGINT and SIGQUIT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGQUIT"):
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)

    def module(name, **contents):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)

    class Worker:
        def __init__(self, compute, console):
            self.console = console

    def run(job, worker):
        part = job.destination.with_suffix(".part")
        part.touch()
        try:
            worker.console.note("working")
            time.sleep(60)
        finally:
            time.sleep(0.3)
            part.unlink()

    names = ["source", "destination", "options", "method", "compute"]
    names += [("together", tuple, ()), ("in_batch", bool, False)]
    module("deblurcli.restore.worker", Worker=Worker)
    module("deblurcli.jobs.video", VideoJob=make_dataclass("VideoJob", names, namespace={"run": run}))
    module("deblurcli.jobs.doctor", findings=lambda: [("row", "x" * 100)] * 10000, speeds=None)
    from deblurcli.cli import main
    main()
    """
)

INPUTS = [__file__, str(Path(__file__).with_name("conftest.py"))]
"""Any files will do for these jobs."""

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and pipes as on POSIX")


def start(*args: str, **keywords: object) -> subprocess.Popen:
    command = [sys.executable, "-c", FAKE, *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords)


@POSIX
@pytest.mark.parametrize(
    ("number", "times", "code", "said"),
    [
        (signal.SIGINT, 1, 130, "interrupted"),
        (signal.SIGTERM, 1, 143, "terminated"),
        (signal.SIGTERM, 2, 143, "terminated"),
        (signal.SIGHUP, 1, 129, "hung up"),
        (signal.SIGQUIT, 1, 131, "quit"),
    ],
)
def test_signals_clean_up_and_have_their_codes(tmp_path, number, times, code, said):
    run = start("video", INPUTS[0], "-o", str(tmp_path / "out.mp4"))
    assert run.stderr.readline() == "working\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.part"]
    for _ in range(times):
        run.send_signal(number)
        time.sleep(0.1)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err) == (code, "", f"deblur: {said}; run the same command again\n")
    assert not list(tmp_path.iterdir())


INTERRUPTED = textwrap.dedent(
    """
    import os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)

    class Interrupting:
        def find_spec(self, name, *_):
            if name == sys.argv[-1]:
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Interrupting())
    from deblurcli.cli import main
    main()
    """
)


@POSIX
@pytest.mark.parametrize("module", ["deblurcli.cli.app", "typer", "deblurcli.options.option", "deblurcli.cli.train"])
def test_an_interrupt_while_importing_is_130_without_a_traceback(module):
    run = subprocess.run([sys.executable, "-c", INTERRUPTED, module], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (130, "deblur: interrupted; run the same command again\n")


@POSIX
def test_nohup_is_kept(tmp_path):
    run = start(
        "video", INPUTS[0], "-o", str(tmp_path / "out.mp4"), preexec_fn=lambda: signal.signal(1, signal.SIG_IGN)
    )
    assert run.stderr.readline() == "working\n"
    run.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=30)
    assert run.returncode == 143


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["doctor", "--help", "video --help", "--version"])
def test_a_full_disk_behind_stdout_is_5_and_one_line(words):
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-c", FAKE, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert run.returncode == 5 and run.stderr.startswith("deblur: ") and run.stderr.count("\n") == 1
    assert "No space left" in run.stderr and "unexpected" not in run.stderr


@POSIX
def test_a_signal_stops_a_batch_and_ends_the_json_log(tmp_path):
    run = start("video", *INPUTS, "-o", f"{tmp_path}/", "--log", "json")
    while "working" not in run.stderr.readline():
        pass
    run.send_signal(signal.SIGTERM)
    err = run.communicate(timeout=30)[1].splitlines()
    assert run.returncode == 143
    assert err[-1] == '{"type": "exit", "code": 143, "message": "terminated"}'


@POSIX
def test_nobody_reads_stdout():
    run = start("doctor")
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait(timeout=30) == 141


@POSIX
def test_a_closed_stderr_does_not_spoil_stdout():
    script = f"import os; os.close(2); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'deblurcli', 'video'])"
    run = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=60)
    assert (run.returncode, run.stdout) == (2, b"")


def test_help_loads_nothing_heavy():
    code = textwrap.dedent(
        """
        import sys
        from deblurcli.cli.app import run
        commands = "video,image,weights list,compare,metrics,evaluate,inspect,synth,train meta,doctor"
        for words in ("", *commands.split(",")):
            assert run([*words.split(), "--help"]) == 0
        heavy = {"torch", "av", "cv2", "numpy", "kornia", "safetensors", "deblurcli.api"}
        print(sorted(heavy & set(sys.modules)), file=sys.stderr)
        """
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "[]\n")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, deblurcli; print([m for m in ('torch', 'av', 'numpy', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("command", [[], ["video"], ["train"], ["weights"]])
def test_help_answers_at_once(command):
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "deblurcli", *command, "--help"], check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Processor time, and the best of a few: the machine may be busy with other things.
    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("deblur ", {"video", "image", "weights", "metrics", "train", "doctor"}),
        ("deblur video --method ", {"none", "meta"}),
        ("deblur video --dtype b", {"bf16"}),
        ("deblur image --log ", {"text", "json"}),
        ("deblur train ", {"deblur", "reblur"}),
        ("deblur weights ", {"list", "path", "verify", "info"}),
    ],
)
def test_completion(words, found):
    env = os.environ | {"_DEBLUR_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    run = subprocess.run([sys.executable, "-m", "deblurcli"], env=env, capture_output=True, text=True, timeout=60)
    offered = {word for word in found | {"nonsense"} if f'"{word}"' in run.stdout}
    assert (run.returncode, offered, run.stderr) == (0, found, "")


def test_completion_can_be_shown():
    env = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "deblurcli", "--show-completion", "bash"]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and "_DEBLUR_COMPLETE" in run.stdout


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_that_wait_soon_sleep_unless_told_otherwise(given: dict[str, str], wanted: str) -> None:
    """Else a busy machine is slow, and what is measured on it is no speed. torch must see it when it is loaded."""
    code = (
        "import os, sys; sys.exit = print; import deblurcli.cli as c; c.main(); print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    run = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, env=clean | given, timeout=60
    )
    assert run.stdout.splitlines()[-1] == wanted, run.stderr

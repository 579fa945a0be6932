"""The command line: options, messages, exit codes. The API behind it is a fake one."""

import dataclasses
import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import fields_of, options_of_command

import deblurcli
from deblurcli import errors, options
from deblurcli.cli import run
from deblurcli.cli.man import EXIT_STATUS

ROOT = Path(__file__).parents[2]
COMMANDS = ["video", "image", "weights", "metrics", "inspect", "synth", "train", "doctor"]


def raising(error):
    def function(*_, **__):
        raise error

    return function


# One option = one keyword = one field


@pytest.mark.parametrize(
    ("name", "kinds", "without"),
    [
        ("video", (options.VideoOptions, options.AdaptOptions, options.TtaOptions, options.DeviceOptions), set()),
        ("image", (options.ImageOptions, options.TtaOptions, options.DeviceOptions), set()),
        ("synth", (options.SynthOptions,), set()),
        ("train", (options.TrainOptions, options.DeviceOptions), {"tile"}),
    ],
)
def test_options_are_the_fields(name, kinds, without):
    ours, fields = options_of_command(name), fields_of(*kinds)
    assert set(ours) == set(fields) - without
    for key, param in ours.items():
        flag = "--" + {"start": "from", "reblur_start": "reblur-from"}.get(key, key).replace("_", "-")
        assert flag in param.opts
        assert param.help
        if key not in ("network", "crops") or name != "train":
            default = fields[key].default
            assert param.required if default is dataclasses.MISSING else param.default == default


def test_every_field_is_documented():
    source = Path(options.__file__).read_text()
    for kind in filter(dataclasses.is_dataclass, vars(options).values()):
        body = source[source.index(f"class {kind.__name__}") :]
        for name in fields_of(kind):
            assert re.search(rf'\n    {name}: [^\n]*\n    """', body), f"{kind.__name__}.{name}"


def test_values_reach_the_api_by_their_names(api, folder):
    line = "video a.mp4 -o o.mp4 --method none --patches 3 --patch-size 96 --steps 0 --seed 9 --crf 20.5 --tile 64"
    assert run([*line.split(), "--freeze-deblur-in-cycle", "--codec", "ffv1", "--overwrite"]) == 0
    [(source, destination, keywords)] = api.calls
    assert (source, destination) == (Path("a.mp4"), Path("o.mp4"))
    given = {"method": "none", "patches": 3, "patch_size": 96, "steps": 0, "seed": 9, "crf": 20.5, "tile": "64"}
    given |= {"freeze_deblur_in_cycle": True, "codec": "ffv1", "overwrite": True}
    kinds = (options.VideoOptions, options.AdaptOptions, options.TtaOptions, options.DeviceOptions)
    assert keywords == {name: field.default for name, field in fields_of(*kinds).items()} | given


def test_train_passes_its_options(api, folder, capsys):
    api.train = lambda stage, **keywords: api.calls.append((stage, keywords)) or {}
    line = "train reblur --data photos --out run --iterations 5 --crops 64,96 --from default --device cpu"
    assert run(line.split()) == 0
    [(stage, keywords)] = api.calls
    assert stage == "reblur"
    assert keywords.pop("command") == "deblur " + line
    keywords.pop("report")
    assert set(keywords) == set(fields_of(options.TrainOptions, options.DeviceOptions))
    assert keywords["crops"] == (64, 96) and keywords["start"] == "default"
    assert keywords["network"] == options.STAGES["reblur"] and keywords["data"] == Path("photos")
    assert capsys.readouterr().out.strip() == str(Path("run", f"{keywords['network']}.safetensors"))


def test_training_stages_and_their_networks_exist():
    from deblurcli.networks import NETWORKS
    from deblurcli.train.stages import STAGES

    assert set(options.STAGES) == set(STAGES)
    roles = {stage: NETWORKS[network].role for stage, network in options.STAGES.items()}
    deblurring = dict.fromkeys(("deblur", "joint", "meta", "fusion"), "deblur")
    assert roles == deblurring | {"module": "reblur-image", "reblur": "reblur"}


# Exit codes and messages

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DeblurError)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_its_code_and_one_line(api, folder, capsys, kind):
    api.deblur_video = raising(kind("a.mp4 is\nodd", "do better"))
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == kind.code
    assert capsys.readouterr() == ("", "deblur: a.mp4 is odd; do better\n")


def test_the_documented_codes_are_the_codes():
    assert set(EXIT_STATUS) == {0, errors.SIGINT_CODE, errors.SIGTERM_CODE} | {kind.code for kind in ERRORS}
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("| Exit code |")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)} == set(EXIT_STATUS)


def test_an_unexpected_error_is_one_line(api, folder, capsys):
    api.deblur_video = raising(ValueError("odd\nthing"))
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == 1
    err = capsys.readouterr().err
    assert err == "deblur: unexpected error: ValueError: odd thing; run again with --verbose for the traceback\n"


@pytest.mark.parametrize("args", [["-v", "video"], ["video", "-v"]])
def test_verbose_shows_the_traceback(api, folder, capsys, args):
    api.deblur_video = raising(ValueError("odd"))
    assert run([*args, "a.mp4", "-o", "o.mp4"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "ValueError: odd" in err


def test_an_interrupt_is_130(api, folder, capsys):
    api.deblur_video = raising(KeyboardInterrupt())
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == 130
    assert capsys.readouterr().err == "deblur: interrupted; run the same command again\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("video a.mp4", "missing option '-o'"),
        ("video -o out.mp4", "missing argument 'INPUT"),
        ("video a.mp4 -o out.mp4 --sped 3", "see deblur video --help"),
        ("video a.mp4 -o out.mp4 --patches many", "'--patches'"),
        ("vidoe a.mp4", "vidoe"),
        ("video a.mp4 -o out", "-o out has no suffix; give a file such as out.mp4, or a folder: out/"),
        ("video a.mp4 -o out.mp4 --method magic", "--method magic is unknown; give one of none, meta"),
        ("video a.mp4 -o out.mp4 --overwrite --skip-existing", "exclude each other"),
        ("video a.mp4 -o out.mp4 --log xml", "--log xml is unknown; give one of text, json"),
        ("--log xml video a.mp4 -o out.mp4", "--log xml is unknown"),
        ("image a.png -o out.png --dtype int8", "--dtype int8 is unknown"),
        ("train deblur --data d --out o", "give --minutes or --iterations"),
        ("train deblur --data d --out o --minutes 1 --crops big", "--crops big is not a list of sizes"),
        (
            "train all --data d --out o --minutes 1",
            "all is unknown; give one of deblur, joint, module, meta, fusion, reblur",
        ),
        ("weights", "see deblur weights --help"),
    ],
)
def test_usage_errors_are_2_and_say_what_to_do(api, folder, capsys, line, said):
    assert run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("deblur: ") and err.count("\n") == 1
    assert said in err
    assert not api.calls


@pytest.mark.parametrize("given", ["video '' -o out/", "video a.mp4 -o ''"])
def test_unset_variables_of_a_script_are_refused(api, folder, capsys, given):
    assert run(["" if word == "''" else word for word in given.split()]) == 2
    assert "empty" in capsys.readouterr().err and not api.calls


def test_differences_are_3_and_are_told_even_quietly(api, folder, capsys):
    summary = SimpleNamespace(destination=Path("o.mp4"), differences=["a stream was lost"], lines=[], facts={})
    api.deblur_video = lambda *_, **__: summary
    assert run(["video", "-q", "a.mp4", "-o", "o.mp4"]) == 3
    assert capsys.readouterr() == ("o.mp4\n", "deblur: o.mp4 is written, but: a stream was lost\n")


# The JSON log


@pytest.mark.parametrize("args", [["--log", "json", "video"], ["video", "--log=json"]])
def test_the_json_log_ends_with_the_exit(api, folder, capsys, args):
    assert run([*args, "a.mp4", "-o", "o.mp4"]) == 0
    out, err = capsys.readouterr()
    assert out == "o.mp4\n"
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["type"] for line in lines] == ["note", "summary", "exit"]
    assert lines[1] == {"type": "summary", "source": "a.mp4", "destination": "o.mp4", "differences": [], "frames": 3}
    assert lines[2] == {"type": "exit", "code": 0, "message": "done"}


@pytest.mark.parametrize("more", [[], ["-o"], ["--nonsense"]])
def test_errors_of_parsing_are_in_the_json_log_too(capsys, more):
    assert run(["video", "--log", "json", "a.mp4", *more]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["type"] for line in lines] == ["error", "exit"]
    assert lines[1]["code"] == 2 and lines[0]["message"] == lines[1]["message"]


def test_an_unexpected_error_in_the_json_log(api, folder, capsys):
    api.deblur_video = raising(ValueError("odd"))
    assert run(["video", "--log", "json", "-qv", "a.mp4", "-o", "o.mp4"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["type"] for line in lines] == ["error", "exit"]


@pytest.mark.parametrize(("flags", "seen"), [(["--log", "json"], 0), (["--log", "json", "-v"], 1)])
def test_warnings_of_libraries_are_details(api, folder, capsys, flags, seen):
    def restore(source, destination, **_):
        warnings.warn("for developers", UserWarning, stacklevel=1)
        return SimpleNamespace(destination=destination, differences=[], lines=[], facts={})

    api.deblur_video = restore
    assert run(["video", *flags, "a.mp4", "-o", "o.mp4"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines if line["type"] == "detail"] == ["UserWarning: for developers"] * seen


# The other commands


def test_without_a_command_there_is_help_and_2(capsys):
    assert run([]) == 2
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS), ["weights", "list"], ["weights", "info"]])
def test_help_is_0_on_stdout(capsys, command):
    for flag in ("--help", "-h"):
        assert run([*command, flag]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Usage: deblur") and err == ""


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"deblur {deblurcli.__version__}\n"


def test_doctor_is_a_table(api, capsys):
    api.doctor = lambda: [("device", "cpu fp32"), ("av", "1")]
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out == "device  cpu fp32\nav      1\n"


def test_metrics_of_two_files(api, folder, capsys):
    api.measure = lambda a, b, **_: {"psnr": 31.23456, "ssim": 0.91236, "frames": 12}
    assert run(["metrics", "a.mp4", "b.MOV"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["PSNR", "dB", "SSIM", "frames"]
    assert row.split() == ["a.mp4", "31.235", "0.9124", "12"]


@pytest.fixture
def two_folders(folder):
    for name in ("mine/notes.txt", "mine/1.png", "mine/2.png", "theirs/1.png", "theirs/2.png", "theirs/3.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


def test_metrics_of_folders_match_by_name(api, two_folders, capsys):
    api.measure = lambda a, b, **_: (
        {"psnr": 30.0 + 2 * int(a.stem), "ssim": 0.9, "frames": 1} | {} if a.name == b.name else {}
    )
    assert run(["metrics", "mine", "theirs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["1.png", "32.000", "0.9000", "1"],
        ["2.png", "34.000", "0.9000", "1"],
        ["mean", "33.000", "0.9000", "2"],
    ]


def test_metrics_for_machines(api, two_folders, capsys):
    api.measure = lambda a, b, **_: {"psnr": float("inf"), "ssim": 1.0, "frames": 1}
    assert run(["metrics", "mine", "theirs", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["items"][1] == {"name": "2.png", "psnr": None, "ssim": 1.0, "frames": 1}
    assert found["mean"] == {"psnr": None, "ssim": 1.0, "frames": 2}


def test_metrics_go_on_after_a_failure(api, two_folders, capsys):
    def measure(a, b, **_):
        if not b.exists():
            raise errors.InputError(f"{b} does not exist", "give another")
        return {"psnr": 30.0, "ssim": 0.9, "frames": 1}

    api.measure = measure
    assert run(["metrics", "theirs", "mine", "-q"]) == 3
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["1.png", "2.png", "mean"]
    assert err.splitlines() == [
        f"deblur: {Path('mine', '3.png')} does not exist; give another",
        "deblur: of 3 files 1 failed; the lines above say why",
    ]
    assert run(["metrics", "theirs", "empty"]) == 4
    assert run(["metrics", "theirs/1.png", "gone.png"]) == 4


def test_metrics_of_what_does_not_match(api, two_folders, folder):
    assert run(["metrics", "mine", "a.mp4"]) == 4
    assert run(["metrics", "a.mp4", "mine"]) == 4
    Path("empty").mkdir()
    assert run(["metrics", "empty", "mine"]) == 4


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """Two entries, one of which is damaged."""
    from deblurcli.weights import registry, store

    entries = {
        name: registry.WeightEntry(name, "plain-unet", f"{name}.safetensors", 3_400_000, "0" * 64, "MIT", "photos", "-")
        for name in ("good", "bad")
    }
    rows = [store.Row(entry, "bundled", tmp_path / entry.file) for entry in entries.values()]

    def verify(entry):
        if entry.name == "bad":
            raise errors.WeightsError("bad.safetensors: sha256 is other", "install again")

    monkeypatch.setattr(store, "listing", lambda: rows)
    monkeypatch.setattr(store, "verify", verify)
    monkeypatch.setattr(store, "card", lambda entry: {"minutes": 90.0, "licence": "MIT"})
    monkeypatch.setattr(store, "locate", lambda entry: tmp_path / entry.file)
    monkeypatch.setattr(registry, "installed", lambda: registry.Registry(entries, {}))
    return tmp_path


def test_weights_list(registry, capsys):
    assert run(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["good  plain-unet  3.4 MB  MIT  bundled  -", "bad   plain-unet  3.4 MB  MIT  bundled  -"]


def test_weights_path(registry, capsys, monkeypatch):
    monkeypatch.setenv("DEBLUR_CACHE", "/somewhere")
    assert run(["weights", "path", "good"]) == 0
    assert run(["weights", "path"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(registry / "good.safetensors"), str(Path("/somewhere"))]


def test_weights_verify_goes_on_after_a_refusal(registry, capsys):
    assert run(["weights", "verify", "good"]) == 0
    assert run(["weights", "verify", "bad"]) == 6
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["weights", "verify"]) == 6
    out, err = capsys.readouterr()
    assert out == "good  OK\n"
    assert err.splitlines()[-1] == "deblur: 1 of 2 files of weights are refused; the lines above say why"


def test_weights_info(registry, capsys):
    assert run(["weights", "info", "good"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "card     minutes: 90.0"
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert facts["network"] == "plain-unet" and facts["licence"] == "MIT" and facts["sha256"] == "0" * 64
    assert run(["weights", "info", "nothing"]) == 6

"""The chain: one command trains all that belongs to a single-frame network, resumes, and measures the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import chains
import processes
import pytest
import torch
from end_to_end import QUICK, contents, deblur, shaken_video, small_network
from safetensors.torch import load_file
from stopping import Stop
from trees import picture, shaken_dataset

from deblurcli import api
from deblurcli.console import Reporter, Silent
from deblurcli.errors import InputError, UsageError
from deblurcli.networks import NETWORKS
from deblurcli.options.chain import LINKS, SUMMARY, ChainOptions
from deblurcli.options.train import STAGES
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

TINY = {"iterations": 10, "crops": (64,), "batch": 1, "ring": 6, "device": "cpu", "dtype": "fp32"}
ROLES = ["deblur", "reblur-image", "deblur", "reblur", "critic", "deblur", "reblur"]
"""What the networks do that the links write, in their order."""


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, kind: str, text: str, **facts: object) -> None:
        self.said.append(text)


class StopsIn(Reporter):
    """Stops the run when a task tells of an iteration."""

    def __init__(self, task: str, iteration: int) -> None:
        super().__init__(Notes())
        self.at = task, iteration

    def progress(self, task: str, done: float, total: float | None, **facts: object) -> None:
        if (task, facts.get("iteration")) == self.at:
            raise Stop


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with chains.quick():
        yield


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a single-frame network."""
    folder = tmp_path_factory.mktemp("chain")
    for seed in range(3):
        picture(folder / "photos" / f"{seed}.png", seed, (300, 340))
    small_network(folder / "own.safetensors", change=0.01)
    return folder


@pytest.fixture(scope="module")
def chained(top: Path) -> Path:
    """The folder of a chain that ran through."""
    words = ["--iterations", 10, "--crops", 64, "--batch", 1, "--ring", 6, "--device", "cpu", "--dtype", "fp32", "-q"]
    source = ["--from", top / "own.safetensors", "--data", top / "photos"]
    assert deblur("train", "chain", *source, "--out", top / "run", *words) == 0
    return top / "run"


def test_links_follow_each_other() -> None:
    options = ChainOptions(out="o", start="own", data="d", crops=(64,))
    assert sum(link.share for link in LINKS) == pytest.approx(1)
    before: set[tuple[str, str]] = set()
    for link in LINKS:
        stage = options.of_link(link)
        assert type(stage) is STAGES[link.stage] and stage.network == link.files[0]
        assert stage.minutes == pytest.approx(link.share * options.minutes) and stage.out == Path("o", link.name)
        assert set(link.learnt.values()) <= before, "it would need what is trained later"
        before |= {(link.name, network) for network in link.files}
    assert options.minutes == 440 and ChainOptions(out="o", start="w", data="d", iterations=10).minutes == 0


def test_links_may_start_from_the_bundled_ones() -> None:
    new, bundled = (
        ChainOptions(out="o", start="own", data="d", crops=(64,), links=links) for links in ("new", "bundled")
    )
    stages = {links.links: [links.of_link(link) for link in LINKS] for links in (new, bundled)}
    assert [stage.start for stage in stages["new"]].count(None) == 3
    assert [stage.start for stage in stages["bundled"]].count("default") == 3
    assert stages["bundled"][3].critic == "default"  # type: ignore[attr-defined]
    assert stages["bundled"][0].deblurring == "own"  # type: ignore[attr-defined]


def test_one_command_trains_and_measures_all(chained: Path, top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(chained)
    summary = json.loads((chained / SUMMARY).read_text())
    files = [path for link in LINKS for path in summary["links"][link.name]["files"]]
    assert [load_network(path, role=role).network for path, role in zip(files, ROLES, strict=True)] == [
        network for link in LINKS for network in link.files
    ]
    assert [link["iterations"] for link in summary["links"].values()] == [3, 2, 2, 2, 1]
    scores = summary["scores"]
    assert set(scores["start"]) == {"blurred", "single frame"}
    assert set(scores["before"]) < set(scores["after"]) and len(scores["after"]) == 5
    # Meta-training measures itself in the same way; with a fitted camera, on the same videos.
    of_meta = summary["links"]["meta"]
    assert scores["after"]["adapted"] == of_meta["score_at_start"]
    assert scores["after"]["adapted from meta-learned weights"] == of_meta["score"]
    sink = Notes()
    again = api.train_chain(
        top / "own.safetensors", chained, data=top / "photos", console=Reporter(sink), **TINY
    )  # fmt: skip
    assert again == summary and contents(chained) == before and "already finished" in sink.said[-1]


def test_each_link_has_what_those_before_wrote(chained: Path, top: Path) -> None:
    own = load_file(top / "own.safetensors")
    fusion, learnt, both = (
        load_file(chained / link / "video-unet.safetensors") for link in ("fusion", "meta", "meta-reblur")
    )
    assert all(torch.equal(fusion[f"base.{key}"], value) for key, value in own.items())
    for other in (learnt, both):
        assert all(torch.equal(other[key], fusion[key]) for key in fusion if key.startswith("fusion."))
        assert any(not torch.equal(other[key], fusion[key]) for key in fusion if key.startswith("base."))
    module = load_network(chained / "module" / "reblurring-module.safetensors", role="reblur-image")
    assert module.card["deblurring"].startswith("own")
    card = load_network(chained / "meta-reblur" / "video-unet.safetensors", role="deblur").card
    reblur = load_network(chained / "reblur" / "blur-mixture.safetensors", role="reblur")
    assert (
        card["reblurring_start"] == reblur.origin
        and card["reblurring"] == "network"
        and "(meta-reblur)" in card["command"]
    )


def test_a_chain_that_stopped_goes_on_to_the_same_weights(chained: Path, top: Path) -> None:
    stopping = StopsIn("training module", 1)
    given = {"start": top / "own.safetensors", "data": top / "photos", "out": top / "parts"} | TINY
    with pytest.raises(Stop):
        api.train_chain(console=stopping, **given)
    kept = f"kept in {top / 'parts'}: fusion finished, module at iteration 1; the same command goes on"
    assert stopping.sink.said[-1] == kept  # type: ignore[attr-defined]
    fusion = (top / "parts" / "fusion" / "state.safetensors").stat().st_mtime_ns
    with pytest.raises(UsageError, match=r"parts holds another chain: --iterations 10 \(now 20\)"):
        api.train_chain(**given | {"iterations": 20})
    sink = Notes()
    found = api.train_chain(console=Reporter(sink), **given)
    assert "fusion, 1 of 5: finished after 3 iterations" in sink.said
    assert any(line.startswith("resuming") and "at iteration 1" in line for line in sink.said)
    assert (top / "parts" / "fusion" / "state.safetensors").stat().st_mtime_ns == fusion
    assert found["scores"] == json.loads((chained / SUMMARY).read_text())["scores"]
    for link in LINKS:
        for network in link.files:
            one, two = (load_file(run / link.name / f"{network}.safetensors") for run in (chained, top / "parts"))
            assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one), link.name


def test_its_weights_restore_and_adapt_together(chained: Path, top: Path, tmp_path: Path) -> None:
    clip = shaken_video(tmp_path / "in.mkv", frames=5)
    video = chained / "fusion" / "video-unet.safetensors"
    module = chained / "module" / "reblurring-module.safetensors"
    own = ["--network", top / "own.safetensors", "--tta-steps", 1, "--tta-reblur", module]
    assert deblur("image", top / "photos" / "0.png", "-o", tmp_path / "0.png", *own, "--device", "cpu", "-q") == 0
    both = chained / "meta-reblur"
    ways = {
        "camera": ["--method", "meta", *QUICK, "--initial", chained / "meta" / "video-unet.safetensors"],
        "network": [
            *("--method", "meta", *QUICK, "--reblurring", "network", "--initial", both / "video-unet.safetensors"),
            *("--reblur", both / "blur-mixture.safetensors"),
            *("--critic", chained / "reblur" / "patch-critic.safetensors"),
        ],
        "tta": ["--method", "tta", "--tile", "off", "--tta-reblur", module],
    }
    for name, words in ways.items():
        steps = ["--steps", 1, "--device", "cpu", "-q", "--overwrite"]
        assert deblur("video", clip, "-o", tmp_path / f"{name}.mkv", "--network", video, *words, *steps) == 0, name


def test_another_kind_of_network_is_refused_in_a_line(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = NETWORKS["blur-mixture"].build(**chains.SMALL["blur-mixture"])
    save_network(
        tmp_path / "r.safetensors", module, network="blur-mixture", config=chains.SMALL["blur-mixture"], card={}
    )
    source = ["--data", top / "photos", "--out", tmp_path / "run", "--crops", 64, "--device", "cpu"]
    for start, code, said in (
        ("video-unet", 2, "deblur: --from video-unet holds a video-unet; a chain is trained for a plain-unet\n"),
        (tmp_path / "r.safetensors", 6, "is a reblur network; a deblur network is needed here\n"),
    ):
        assert deblur("train", "chain", "--from", start, *source) == code
        error = capsys.readouterr().err
        assert error.endswith(said) and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_learnt_from_is_told_at_once(top: Path, tmp_path: Path) -> None:
    own, out = top / "own.safetensors", tmp_path / "run"
    with pytest.raises(InputError, match="cannot be read"):
        api.train_chain(own, out, data=tmp_path / "none", **TINY)
    for side in ("blur", "sharp"):
        for number in range(8):
            clip = tmp_path / "pairs" / "train" / f"clip{number // 4}"
            picture(clip / side / f"{number:06}.png", number, (160, 160))
    with pytest.raises(InputError, match="no clip with 5 frames"):
        api.train_chain(own, out, pairs=tmp_path / "pairs", layout="gopro", **TINY)
    with pytest.raises(UsageError, match="--data and --pairs exclude each other"):
        api.train_chain(own, out, data=top / "photos", pairs=tmp_path / "pairs", layout="gopro", **TINY)
    with pytest.raises(UsageError, match="nothing to learn from"):
        api.train_chain(own, out, **TINY)
    with pytest.raises(UsageError, match="--crops 160 is more than a video of meta-training has; give 128 at most"):
        api.train_chain(own, out, data=top / "photos", **TINY | {"crops": (64, 160)})
    with pytest.raises(UsageError, match="the training budget is not clear"):
        api.train_chain(own, out, data=top / "photos", minutes=3, **TINY)
    assert not out.exists()
    out.mkdir()
    (out / SUMMARY).write_text("{}")
    with pytest.raises(InputError, match="is no summary of a chain"):
        api.train_chain(own, out, data=top / "photos", **TINY)


@pytest.mark.slow
def test_a_chain_learns_from_pairs(top: Path, tmp_path: Path) -> None:
    dataset = shaken_dataset(tmp_path / "gopro")
    found = api.train_chain(top / "own.safetensors", tmp_path / "run", pairs=dataset, layout="gopro", **TINY)
    assert found["options"]["pairs"] == str(dataset) and set(found["links"]) == {link.name for link in LINKS}


@pytest.mark.slow
def test_two_processes_train_a_chain(top: Path, tmp_path: Path) -> None:
    """The leading one alone scores and keeps the summary; each link waits for the files of those before."""
    given = {"start": top / "own.safetensors", "data": top / "photos", "out": tmp_path / "run"} | TINY
    torch.multiprocessing.spawn(chains.train, (str(tmp_path), given, processes.free_port()), nprocs=2)
    led, other = (json.loads(Path(tmp_path, str(rank)).read_text()) for rank in range(2))
    assert led == json.loads((tmp_path / "run" / SUMMARY).read_text()) and set(led["scores"]) > {"before", "after"}
    assert other["links"] == {} and "scores" not in other

"""Equation 7 whole: meta-training with a reblurring network, and of networks that see several frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from end_to_end import QUICK, SMALL, deblur, shaken_video
from safetensors.torch import load_file
from small_networks import randomised
from torch import Tensor, nn
from trees import shaken_dataset

from deblurcli.adaptation.initial import initial_weights
from deblurcli.adaptation.support import SupportPatch
from deblurcli.device import pick_device
from deblurcli.errors import InputError, WeightsError
from deblurcli.losses import l1
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.meta_training import MetaTraining
from deblurcli.restore.worker import Worker
from deblurcli.train.companion import Companion
from deblurcli.train.inner_update import Learners, adapted_to, both_adapted_to
from deblurcli.train.parallel import Peers
from deblurcli.train.stages import meta
from deblurcli.train.stages.meta import MetaLearning
from deblurcli.train.tasks import Task, TaskRing
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

CPU = pick_device("cpu", "fp32")
SINGLE = replace(NETWORKS["plain-unet"], loss="l1", multiple_of=1, min_size=1)
RATES = {"inner_rate": 0.02, "reblur_rate": 0.03, "critic_rate": 0.004, "cycle_weight": 0.25, "unadapted_weight": 0.0}


class Scales(nn.Module):
    """A deblurring network of one number, which has contrast to give or to take."""

    def __init__(self, amount: float = 1.0) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, picture: Tensor) -> Tensor:
        return 0.5 + self.amount * (picture - 0.5)


class Mixes(nn.Module):
    """A reblurring network of one number: how much of its neighbours a frame takes on."""

    def __init__(self, amount: float = 0.3) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, window: Tensor) -> Tensor:
        return window[:, 2] + self.amount * (window.mean(1) - window[:, 2])


class Judges(nn.Module):
    """A critic of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.bend = nn.Parameter(torch.tensor(0.008)), nn.Parameter(torch.tensor(-0.006))

    def forward(self, picture: Tensor) -> Tensor:
        return self.slope * picture + self.bend * picture.square()


def toy_task() -> Task:
    frames = torch.rand(7, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    blurred, sharp = (0.2 + 0.6 * frames), frames
    patch = SupportPatch(0, 0, 3, 1.0, blurred[1:6].clone(), at_end=False)
    patch.blurriest = blurred[6].clone()
    return Task([patch], None, (blurred * 255).round().byte(), (sharp * 255).round().byte())


def by_hand(task: Task, steps: int, options: MetaTraining) -> tuple[float, float, float, float]:
    """Algorithm 2 of the paper, written down: theta~_RB, theta~_DB and the two gradients of equation 7."""
    reblur, deblur, critic = Mixes(), Scales(), Judges()
    window, real = task.support[0].window, task.support[0].blurriest
    assert window is not None and real is not None
    alpha, beta, share = options.reblur_rate, options.inner_rate, options.cycle_weight
    adam, rms = (
        torch.optim.Adam([reblur.amount], lr=alpha),
        torch.optim.RMSprop(critic.parameters(), options.critic_rate),
    )
    for _ in range(steps):
        made = reblur(window[None])  # equation 3
        rms.zero_grad()
        (-critic(real).mean() + critic(made.detach()).mean()).backward()
        rms.step()
        for number in critic.parameters():
            number.data.clamp_(-0.01, 0.01)
        cycle = (deblur(made.clamp(0, 1)) - window[None, 2]).abs().mean()  # equation 4
        (slope,) = torch.autograd.grad((1 - share) * -critic(made).mean() + share * cycle, reblur.amount)
        reblur.amount.grad = slope  # equation 5
        adam.step()
    adam = torch.optim.Adam([deblur.amount], lr=beta)
    for _ in range(steps):
        made = reblur(window[None]).detach().clamp(0, 1)
        (slope,) = torch.autograd.grad((deblur(made) - window[None, 2]).abs().mean(), deblur.amount)
        deblur.amount.grad = slope  # equation 6
        adam.step()
    blurred, sharp = task.blurred.float() / 255, task.sharp.float() / 255
    count, terms = len(blurred), []
    for n in range(count):  # equation 7
        places = [min(max(n + off, 0), count - 1) for off in range(-2, 3)]
        around = sharp[places] if options.windows == "sharp" else blurred[places]
        around[2] = sharp[n]
        charbonnier = ((reblur(around[None])[0] - blurred[n]).square() + 1e-6).sqrt().mean()
        terms.append((charbonnier, (deblur(blurred[n]) - sharp[n]).abs().mean()))
    (of_reblur,) = torch.autograd.grad(sum(term[0] for term in terms) / count, reblur.amount)
    (of_deblur,) = torch.autograd.grad(sum(term[1] for term in terms) / count, deblur.amount)
    return float(reblur.amount.detach()), float(deblur.amount.detach()), float(of_reblur), float(of_deblur)


def learning(options: MetaTraining) -> MetaLearning:
    return MetaLearning(SINGLE, options, CPU, l1, Judges())


@pytest.fixture
def toy_options(tmp_path: Path) -> MetaTraining:
    return MetaTraining(
        data=tmp_path,
        out=tmp_path,
        iterations=1,
        reblurring="network",
        windows="sharp",
        inner_steps=5,
        **RATES,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("windows", ["sharp", "video"])
def test_the_gradient_of_equation_7(windows: str, toy_options: MetaTraining) -> None:
    toy_options = replace(toy_options, windows=windows)
    task, network, reblur = toy_task(), Scales(), Mixes()
    expected = by_hand(task, 5, toy_options)
    process = learning(toy_options)
    found = process.inner(Learners(network, reblur), task)
    assert found.reblur is not None
    assert float(found.reblur.amount.detach()) == pytest.approx(expected[0], rel=1e-5)
    assert float(found.deblur.amount.detach()) == pytest.approx(expected[1], rel=1e-5)
    assert abs(expected[0] - 0.3) > 0.02 and abs(expected[1] - 1) > 0.02, "both moved"
    ring = TaskRing(lambda index: task, 1, 3)
    ring.advance(0)
    deblurring, reblurring = process.query_losses(*ring.batch(0, len(task.blurred), 64, CPU.where))
    process.outer(network, found.deblur, deblurring).backward()
    assert float(network.amount.grad) == pytest.approx(expected[3], rel=1e-4)  # type: ignore[arg-type]
    companion = Companion(reblur, torch.optim.SGD(reblur.parameters(), lr=0.1), clip=None)
    companion.step(process.outer(reblur, found.reblur, reblurring), Peers())
    assert float(reblur.amount.detach()) == pytest.approx(0.3 - 0.1 * expected[2], rel=1e-5)
    assert float(network.amount.detach()) == 1.0, "nothing that was given to the inner update has changed"


def test_updates_that_diverge_are_told_in_a_line(toy_options: MetaTraining) -> None:
    with pytest.raises(
        InputError, match="the updates on a task: the reblurring loss became nan; lower --inner-rate"
    ) as told:
        learning(toy_options).inner(Learners(Scales(float("nan")), Mixes()), toy_task())
    assert "\n" not in str(told.value)


def test_the_gradient_before_adapting_has_its_share(toy_options: MetaTraining) -> None:
    task, options = toy_task(), replace(toy_options, unadapted_weight=0.25)
    process, network = learning(options), Scales()
    deblurring, _ = process.query_losses(*(
        torch.stack([frames[1:6], frames[2:7]]).float() / 255 for frames in (task.blurred, task.sharp)
    ))  # fmt: skip
    slopes = []
    for amount in (0.7, 1.0):
        weights = Scales(amount)
        deblurring(weights).backward()
        slopes.append(float(weights.amount.grad))  # type: ignore[arg-type]
    process.outer(network, Scales(0.7), deblurring).backward()
    assert float(network.amount.grad) == pytest.approx(0.75 * slopes[0] + 0.25 * slopes[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("autocast", [False, True])
def test_the_updates_are_the_same_within_the_training_loop_s_autocast(autocast: bool) -> None:
    """Autocast keeps casted weights: every step must still see those of the last one, the critic's too."""
    generator = torch.Generator().manual_seed(6)
    window = torch.rand(5, 3, 64, 64, generator=generator)
    patch = SupportPatch(0, 0, 2, 1.0, window, at_end=False)
    patch.blurriest = torch.rand(3, 64, 64, generator=generator)
    reblur = randomised(NETWORKS["videoadapt-small"].build(n_feats=4), 1, 0.5)
    network = randomised(NETWORKS["plain-unet"].build(**SMALL), 2)
    critic = randomised(NETWORKS["patch-critic"].build(channels=4), 3)
    options = MetaOptions(reblurring="network", steps="3", rate=1e-2, reblur_rate=1e-2, critic_rate=1e-2)
    device = pick_device("cpu", "bf16" if autocast else "fp32")
    given = (Task([patch], None, window, window), Learners(network, reblur), critic, NETWORKS["plain-unet"], options)
    outside = both_adapted_to(*given, device)
    with device.autocast():
        network(torch.rand(1, 3, 64, 64))
        reblur(window[None])
        inside = both_adapted_to(*given, device)
    for (_, one), (_, other), before in zip(outside.named(), inside.named(), (network, reblur), strict=True):
        triples = list(zip(one.parameters(), other.parameters(), before.parameters(), strict=True))
        assert all(torch.equal(a, b) for a, b, _ in triples) and not all(torch.equal(a, c) for a, _, c in triples)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shaken_dataset(tmp_path_factory.mktemp("gopro"), side=160)


@pytest.fixture
def one_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(meta, "VALIDATION_TASKS", 1)
    yield


def saved(path: Path, network: str, seed: int, scale: float, **config: Any) -> Path:
    module = randomised(NETWORKS[network].build(**config), seed, scale)
    save_network(path, module, network=network, config=config, card={})
    return path


@pytest.fixture
def started(tmp_path: Path) -> list[object]:
    """Weights of small networks to start from."""
    words: list[object] = ["--from", saved(tmp_path / "d.safetensors", "plain-unet", 1, 0.3, **SMALL)]
    words += ["--reblur", saved(tmp_path / "r.safetensors", "videoadapt-small", 2, 0.3, n_feats=4)]
    return [*words, "--critic", saved(tmp_path / "c.safetensors", "patch-critic", 3, 1.0, channels=4)]


def train(dataset: Path, out: Path, *words: object, iterations: int = 2) -> Path:
    given: list[object] = ["train", "meta", "--pairs", dataset, "--layout", "gopro", "--out", out, "--batch", "2"]
    given += ["--crops", "64", "--task-size", "96", "--patch-size", "64", "--patches", "2", "--inner-steps", "2"]
    given += ["--outer-steps", "2", "--device", "cpu", "--dtype", "fp32", "-q", "--iterations", iterations, *words]
    assert deblur(*given) == 0
    return out


def changed(one: Path, other: Path) -> list[str]:
    before, after = load_file(one), load_file(other)
    assert before.keys() == after.keys()
    return [key for key in before if not torch.equal(before[key].float(), after[key].float())]


@pytest.mark.usefixtures("one_task")
def test_both_networks_are_trained_and_used(dataset: Path, started: list[object], tmp_path: Path) -> None:
    out = train(dataset, tmp_path / "run", "--reblurring", "network", *started)
    deblurring, reblurring = out / "plain-unet.safetensors", out / "videoadapt-small.safetensors"
    assert changed(tmp_path / "d.safetensors", deblurring) and changed(tmp_path / "r.safetensors", reblurring)
    assert not (out / "patch-critic.safetensors").exists(), "the critic stays as it is"
    card = load_network(deblurring, role="deblur").card
    assert card["reblurring"] == "network" and card["reblurring_start"].startswith("r (")
    assert card["critic"].startswith("c (")
    columns, *rows = (line.split(",") for line in (out / "log.csv").read_text().splitlines())
    assert columns[-2:] == ["validation_reblur_psnr", "validation_start_reblur_psnr"] and len(rows) == 2
    assert rows[0][-1] == rows[0][-2] == rows[1][-1] != rows[1][-2]
    clip = shaken_video(tmp_path / "in.mkv")
    words: list[object] = [
        "video",
        clip,
        "-o",
        tmp_path / "out.mkv",
        "--method",
        "meta",
        "--reblurring",
        "network",
        *QUICK,
    ]
    words += ["--network", tmp_path / "d.safetensors", "--initial", deblurring, "--reblur", reblurring]
    words += ["--critic", tmp_path / "c.safetensors", "--steps", "2", "--device", "cpu", "-q"]
    assert deblur(*words) == 0 and (tmp_path / "out.mkv").exists()


@pytest.mark.usefixtures("one_task")
@pytest.mark.parametrize("adapt", ["--adapt-anew", "--adapt-once"])
def test_a_run_that_stops_within_a_task_goes_on_exactly(
    adapt: str, dataset: Path, started: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--reblurring", "network", "--recipe", "authors", "--rate", "1e-3", adapt, *started]
    whole = train(dataset, tmp_path / "whole", *words, "--outer-steps", "4", iterations=4)
    real, left = MetaLearning.query_losses, iter(range(3))

    def interrupted(self: MetaLearning, *pictures: Tensor) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(self, *pictures)

    given: list[object] = ["train", "meta", "--pairs", dataset, "--layout", "gopro", "--out", tmp_path / "parts"]
    with monkeypatch.context() as patched:
        patched.setattr(MetaLearning, "query_losses", interrupted)
        given += ["--batch", "2", "--crops", "64", "--task-size", "96", "--patch-size", "64", "--patches", "2"]
        given += ["--inner-steps", "2", "--device", "cpu", "--dtype", "fp32", "-q", "--iterations", "4"]
        assert deblur(*given, *words, "--outer-steps", "4") == 130
    parts = train(dataset, tmp_path / "parts", *words, "--outer-steps", "4", iterations=4)
    for network in ("plain-unet", "videoadapt-small"):
        assert not changed(whole / f"{network}.safetensors", parts / f"{network}.safetensors")
        assert changed(
            tmp_path / f"{'d' if network == 'plain-unet' else 'r'}.safetensors", whole / f"{network}.safetensors"
        )


@pytest.mark.usefixtures("one_task")
@pytest.mark.parametrize("network", ["dbn", pytest.param("cdvd-tsp", marks=pytest.mark.slow), "video-unet"])
def test_networks_of_several_frames(network: str, dataset: Path, started: list[object], tmp_path: Path) -> None:
    """Of the video network, the part that restores frames alone learns."""
    start = tmp_path / f"{network}.safetensors"
    if network == "video-unet":
        base = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 3}
        own = {"frames": 3, "steps": [1.0], "width": 16, "deep_width": 16, "blocks": [0, 1, 1], "base": base}
        saved(start, network, 5, 0.3, **own)
    else:
        saved(start, network, 5, 0.5)
    for model in ("camera", "network") if network == "video-unet" else ("network",):
        words = ["--network", network, "--from", start, "--reblurring", model, "--inner-steps", "1", "--batch", "1"]
        words += ["--recipe", "authors", "--rate", "1e-3", "--task-frames", "5", "--outer-steps", "1"]
        words += started[2:] if model == "network" else []
        size = ["--task-size", "160", "--patch-size", "128"] if model == "camera" else []
        out = train(dataset, tmp_path / model, *words, *size, iterations=1)
        moved = changed(start, out / f"{network}.safetensors")
        assert moved and not [key for key in moved if "running_" in key]
        if network == "video-unet":
            assert all(key.startswith("base.") for key in moved)


@pytest.mark.parametrize("name", ["dbn", "cdvd-tsp"])
def test_the_updates_of_a_network_of_several_frames(name: str) -> None:
    """A copy moves, along with its neighbours' frames; the statistics of its norms stay as they were trained."""
    network, task = randomised(NETWORKS[name].build(), 1, 0.5), toy_task()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    options = MetaOptions(reblurring="network", steps="1", rate=1e-3)
    found = both_adapted_to(task, Learners(network, Mixes()), Judges(), NETWORKS[name], options, CPU)
    after = found.deblur.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert any(not torch.equal(after[key], before[key]) for key in before)
    assert all(torch.equal(after[key], before[key]) for key in before if "running_" in key)


class TestStartingWeights:
    """Weights that were learnt for one model of blur are not used for another without a word."""

    @pytest.fixture
    def worker(self) -> Worker:
        worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
        self.told: list[str] = []
        worker.console.warn = self.told.append  # type: ignore[method-assign, assignment]
        return worker

    def learnt(self, path: Path, model: str) -> str:
        config = dict(NETWORKS["plain-unet"].config or {})
        module = NETWORKS["plain-unet"].build(**config)
        save_network(path, module, network="plain-unet", config=config, card={"reblurring": model})
        return str(path)

    @pytest.mark.parametrize(
        ("learnt", "used", "fits"),
        [
            ("camera", "flow", True),
            ("camera", "network", False),
            ("network", "network", True),
            ("network", "flow", False),
        ],
    )
    def test_a_user_is_told(self, worker: Worker, tmp_path: Path, learnt: str, used: str, fits: bool) -> None:
        network = worker.place("plain-unet", "image", "deblur")
        chosen = self.learnt(tmp_path / "m.safetensors", learnt)
        assert initial_weights(network, MetaOptions(reblurring=used, initial=chosen), worker) is not None
        words = f"was learnt to adapt with --reblurring {learnt}, here it is {used}"
        assert (not self.told) if fits else (words in self.told[0] and "\n" not in self.told[0])

    def test_a_whole_video_network_gives_its_part(self, worker: Worker, tmp_path: Path) -> None:
        network = worker.place("video-unet", "video", "deblur")
        found = initial_weights(network, MetaOptions(initial="video-unet"), worker)
        assert found is not None and found.module is network.module.get_submodule("base")

    def test_none_that_fit_no_network(self, worker: Worker, tmp_path: Path) -> None:
        network = worker.place("plain-unet", "image", "deblur")
        with pytest.raises(WeightsError):
            initial_weights(network, MetaOptions(initial=str(tmp_path / "none.safetensors")), worker)


def test_a_camera_s_updates_follow_another_loss() -> None:
    """``--loss`` is that of the inner update, too."""
    frames = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    patch = SupportPatch(0, 0, 2, 1.0, frames, at_end=False)

    class Dims:
        def blur(self, target: Tensor, rng: object, noisy: bool) -> tuple[Tensor, Tensor, int]:
            return 0.8 * target, target, 0

    task = Task([patch], Dims(), frames, frames)  # type: ignore[arg-type]
    results = [
        float(adapted_to(task, Scales(0.9), SINGLE, 1, 0.01, 1, CPU, criterion).amount.detach())
        for criterion in (None, lambda output, target: -(output.float() - target.float()).square().mean())
    ]
    assert results == pytest.approx([0.91, 0.89])

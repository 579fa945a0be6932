"""Weights: the registry, where files lie, and what is and is not loaded."""

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from deblurcli.errors import OutputError, WeightsError
from deblurcli.networks import NETWORKS
from deblurcli.weights import load, registry, save, store
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

CARD = {"data": "noise", "licence": "MIT", "seed": 0, "scores": {"psnr": 30.5}}
SMALL = {"channels": 2}


@pytest.fixture
def critic():
    torch.manual_seed(0)
    return NETWORKS["patch-critic"].build(**SMALL)


@pytest.fixture
def saved(tmp_path, critic):
    path = tmp_path / "critic.safetensors"
    save_network(path, critic, network="patch-critic", config=SMALL, card=CARD)
    return path


def forged(path, tensors, **metadata):
    """A safetensors file that says whatever the test wants."""
    described = {"network": "patch-critic", "config": json.dumps(SMALL), "card": "{}", **metadata}
    path.write_bytes(safetensors.torch.save(tensors, {k: v for k, v in described.items() if v is not None}))
    return path


def tensors_of(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def refused(path, match, role="critic"):
    with pytest.raises(WeightsError, match=match) as caught:
        load_network(path, role=role)
    assert caught.value.code == 6
    assert "\n" not in str(caught.value)


# Loading and saving


def test_round_trip(saved, critic):
    loaded = load_network(saved, role="critic")
    assert loaded.card == CARD
    assert (loaded.name, loaded.network, loaded.config) == ("critic", "patch-critic", SMALL)
    assert loaded.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert loaded.spec is NETWORKS["patch-critic"]
    assert not loaded.module.training
    for key, value in loaded.module.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, critic.state_dict()[key].half().float())
    assert load_network(str(saved), role="critic").sha256 == loaded.sha256


def test_the_same_weights_are_the_same_bytes(saved):
    """The library writes metadata in an order of its own."""
    content = saved.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    assert list(header) == sorted(header) and list(header["__metadata__"]) == ["card", "config", "network"]
    assert end % 8 == 0


def test_float32_is_kept_exactly(tmp_path, critic):
    path = tmp_path / "exact.safetensors"
    save_network(
        path,
        critic.to(memory_format=torch.channels_last),
        network="patch-critic",
        config=SMALL,
        card={},
        dtype=torch.float32,
    )
    loaded = load_network(path, role="critic").module.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in critic.state_dict().items())


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_can_be_stored_and_loaded(network, tmp_path):
    spec, path = NETWORKS[network], tmp_path / "weights.safetensors"
    module = spec.build(**(spec.config or {}))
    save_network(path, module, network=network, config={}, card={})
    loaded = load_network(path, role=spec.role)
    assert loaded.config == (spec.config or {})
    assert loaded.module.state_dict().keys() == module.state_dict().keys()


def test_building_without_memory_imports_nothing_heavy():
    """Some operations on the meta device import torch's compiler, which takes a second at every start."""
    code = (
        "import sys, torch; from deblurcli.networks import NETWORKS\n"
        "with torch.device('meta'):\n"
        "    for spec in NETWORKS.values(): spec.build(**(spec.config or {}))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(registry.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


class Tied(nn.Module):
    """One parameter under two names."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3, bias=False)
        self.b = nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_shared_parameters_survive(tmp_path, monkeypatch, dtype):
    monkeypatch.setitem(NETWORKS, "tied", load.NetworkSpec(Tied, "deblur"))
    path, module = tmp_path / "tied.safetensors", Tied()
    save_network(path, module, network="tied", config={}, card={}, dtype=dtype)
    loaded = load_network(path, role="deblur").module
    assert loaded.a.weight is loaded.b.weight
    assert torch.equal(loaded.a.weight, module.a.weight.to(dtype).float())


def test_the_working_folder_cannot_stand_in_for_a_name(saved, monkeypatch, registered):
    monkeypatch.chdir(saved.parent)
    saved.rename(saved.parent / "known")
    refused("known", "not on this machine")
    refused("unheard", "no weights are called")


# What is refused


def test_wrong_role(saved):
    refused(saved, "'patch-critic' is a critic network; a deblur network is needed", role="deblur")


def test_missing_empty_and_foreign_files(tmp_path):
    path = tmp_path / "weights.safetensors"
    refused(path, "cannot be read")
    refused(tmp_path, "not a file")
    refused(Path(os.devnull), "not a file")
    path.write_bytes(b"")
    refused(path, "is empty")
    path.write_text("\n<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20)
    refused(path, "a web page")
    path.write_bytes(bytes(range(0x81, 0x88)) + b"\0" * 4000)
    refused(path, "not a safetensors file")


class Attack:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors", "model"])
def test_code_is_never_run(tmp_path, name):
    canary, path = tmp_path / "canary", tmp_path / name
    bare = pickle.dumps(Attack(canary), protocol=2)
    path.write_bytes(bare)
    refused(path, "names (posix|nt).system, which weights do not need; nothing of it was run")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bare)
    refused(path, "names (posix|nt).system, which weights do not need; nothing of it was run")
    path.write_bytes(pickle.dumps(Attack(canary)))
    refused(path, "a pickle, but not in PyTorch's form")
    assert not canary.exists()


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for length in {*range(0, 200, 7), *range(200, len(content), 997), len(content) - 1}:
        saved.write_bytes(content[:length])
        refused(saved, "critic.safetensors: ")


def test_random_damage_to_the_header_raises_our_error_or_none(saved):
    content, generator = saved.read_bytes(), torch.Generator().manual_seed(0)
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(200):
        damaged = bytearray(content)
        for place in torch.randint(0, header, (3,), generator=generator).tolist():
            damaged[place] = int(torch.randint(0, 256, (1,), generator=generator))
        saved.write_bytes(damaged)
        try:
            load_network(saved, role="critic")
        except WeightsError as error:
            assert "\n" not in str(error)


def test_keys_and_shapes(tmp_path, critic):
    path, tensors = tmp_path / "x.safetensors", tensors_of(critic)
    refused(forged(path, {}), r"misses tensors: model.0.bias, model.0.weight, model.11.bias and 7 more")
    refused(forged(path, {**tensors, "extra.weight": torch.zeros(1)}), "has unknown tensors: extra.weight")
    refused(
        forged(path, {**tensors, "model.0.bias": torch.zeros(3)}), r"model.0.bias is float32 \(3,\), the network's is"
    )
    refused(forged(path, {**tensors, "model.0.bias": torch.zeros(2, dtype=torch.int64)}), "model.0.bias is int64")
    refused(forged(path, {**tensors, "model.0.bias": torch.zeros(2, dtype=torch.float8_e4m3fn)}), "is float8")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite(tmp_path, critic, value):
    tensors = tensors_of(critic)
    tensors["model.5.weight"][1, 1, 1, 1] = value
    refused(forged(tmp_path / "x.safetensors", tensors), "model.5.weight holds numbers that are not finite")


def test_descriptions_that_lie(tmp_path, critic):
    path, tensors = tmp_path / "x.safetensors", tensors_of(critic)
    refused(forged(path, tensors, network=None), "holds the tensors of no network known here")
    refused(
        forged(path, tensors, network="patch-critik"), "unknown network 'patch-critik'; did you mean 'patch-critic'?"
    )
    refused(forged(path, tensors, config="{"), "not JSON")
    refused(forged(path, tensors, config="[" * 100_000), "not JSON")
    refused(forged(path, tensors, config="[2]"), "not a JSON object")
    refused(forged(path, tensors, card="3"), "not a JSON object")
    refused(forged(path, tensors, config='{"chanels": 2}'), "cannot be built")
    refused(forged(path, tensors, config='{"channels": -2}'), "cannot be built")
    refused(forged(path, tensors, config='{"channels": "2"}'), "cannot be built")
    refused(forged(path, tensors, config='{"channels": 1e12}'), "out of range")
    refused(forged(path, tensors, config='{"channels": NaN}'), "out of range")
    refused(
        forged(path, tensors, config='{"channels": 4096}'),
        r"is float32 \(2, 3, 4, 4\), the network's is float32 \(4096, ",
    )


def test_hostile_descriptions_are_refused_at_once(tmp_path, critic):
    path, tensors = tmp_path / "x.safetensors", tensors_of(critic)
    content = safetensors.torch.save(tensors, {"network": "patch-critic"})
    header = json.loads(content[8 : (end := 8 + int.from_bytes(content[:8], "little"))]) | {"__metadata__": None}
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[end:])
    refused(path, "holds the tensors of no network known here")
    for depth in (20, 400):
        refused(forged(path, tensors, config='{"channels": ' + "[" * depth + "2" + "]" * depth + "}"), "out of range")
    started = time.process_time()
    for network, role in (("residual-unet", "deblur"), ("nafnet-w32", "deblur"), ("reblurring-module", "reblur-image")):
        config = '{"encoders": [4096, 4096]}' if network == "nafnet-w32" else '{"blocks": 4096}'
        forged(path, tensors, network=network, config=config)
        refused(path, "cannot be built: it has many more parameters than the file has tensors", role=role)
    assert time.process_time() - started < 5, "built block by block"


def test_tables_of_indices_are_the_networks_own(tmp_path):
    config = {"n_feats": 2, "n_layers": 1, "attention_dim": 8, "depth": 2}
    tensors = tensors_of(NETWORKS["videoadapt"].build(**config))
    key = "attn3.layers.0.blocks.1.attn.relative_position_index_patch"
    path = forged(tmp_path / "x.safetensors", tensors, network="videoadapt", config=json.dumps(config))
    load_network(path, role="reblur")
    tensors[key][3, 3] = 10**9
    forged(path, tensors, network="videoadapt", config=json.dumps(config))
    refused(path, "not the network's table of indices", role="reblur")


def test_what_does_not_fit_float16_is_not_written(tmp_path, critic):
    with torch.no_grad():
        critic.model[0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"model.0.weight holds numbers that are not finite"):
        save_network(tmp_path / "x.safetensors", critic, network="patch-critic", config=SMALL, card={})
    with pytest.raises(WeightsError, match="no network is called 'unet'"):
        save_network(tmp_path / "x.safetensors", critic, network="unet", config=SMALL, card={})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved, critic, monkeypatch):
    before = saved.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OutputError, match="no space left on device"):
        save_network(saved, critic, network="patch-critic", config=SMALL, card={})
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == before
    with pytest.raises(OutputError, match="does not exist"):
        save_network(saved / "below.safetensors", critic, network="patch-critic", config=SMALL, card={})


# Adapted weights


def test_adapted_weights_are_the_very_numbers(tmp_path, saved):
    base = load_network(saved, role="critic")
    torch.manual_seed(5)
    state = {k: v + 1e-6 * torch.randn(v.shape) for k, v in base.module.state_dict().items()}
    curves = torch.randn(3, 9)
    path = tmp_path / "adapted.safetensors"
    save.save_adapted(path, state | {load.TONE_CURVES: curves}, base, "clip.mp4", {"steps": 3})
    found = load_network(path, role="critic")
    assert all(torch.equal(value, state[key]) for key, value in found.module.state_dict().items())
    assert torch.equal(found.tone_curves, curves) and base.tone_curves is None
    assert found.card["adapted_to"] == "clip.mp4" and found.card["adapted_from"]["sha256"] == base.sha256
    save.save_adapted(path, state, base, "clip.mp4", {})
    assert load_network(path, role="critic").tone_curves is None
    for curves in (torch.zeros(3), torch.zeros(2, 9), torch.zeros(3, 9).half(), torch.full((3, 9), float("nan"))):
        refused(forged(tmp_path / "x.safetensors", state | {load.TONE_CURVES: curves}), "tone.curves")


# Differences


@pytest.fixture
def trained_on(tmp_path, saved, critic, registered):
    """Weights near those called "known", as a file of a difference; and themselves."""
    entry = registered(**facts_of(saved), bundled=True)
    (tmp_path / "bundled" / entry.file).write_bytes(saved.read_bytes())
    torch.manual_seed(3)
    new = dataclasses.replace(load_network(saved, role="critic"), name="new")
    with torch.no_grad():
        for p in new.module.parameters():
            p += 0.01 * torch.randn(p.shape)
    path = tmp_path / "difference.safetensors"
    save.save_difference(path, new, "known", CARD)
    return path, new.module


def test_a_difference_is_the_weights_to_half_a_step(trained_on, saved):
    path, new = trained_on
    loaded = load_network(path, role="critic")
    assert (loaded.card, loaded.network, loaded.config) == (CARD, "patch-critic", SMALL)
    base, found = load_network(saved, role="critic").module.state_dict(), loaded.module.state_dict()
    for key, value in new.state_dict().items():
        moved, missed = ((value - other[key]).abs().reshape(len(value), -1) for other in (base, found))
        assert moved.any() and (missed <= moved.amax(1, keepdim=True) / 253).all(), key


def test_a_difference_needs_the_weights_it_was_made_for(trained_on, saved, tmp_path, registered):
    path, _ = trained_on
    changed = bytearray(saved.read_bytes())
    changed[-1] ^= 1
    other = tmp_path / "other.safetensors"
    other.write_bytes(changed)
    entry = registered(**facts_of(other), bundled=True)
    (tmp_path / "bundled" / entry.file).write_bytes(changed)
    refused(path, "another version of 'known'")


def test_differences_that_lie(trained_on, tmp_path):
    path, _ = trained_on
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        origin = file.metadata()["difference_from"]
    name = next(key for key in tensors if tensors[key].dim() > 1)
    lying = tmp_path / "lying.safetensors"
    refused(forged(lying, tensors, difference_from="[]"), "does not say what it is a difference from")
    refused(forged(lying, tensors, difference_from='{"name": "none", "sha256": ""}'), "no weights are called")
    forged(lying, {k: v for k, v in tensors.items() if k != name}, difference_from=origin)
    refused(lying, "not those of the weights")
    forged(lying, tensors | {name: tensors[name].float()}, difference_from=origin)
    refused(lying, "is not a difference")
    forged(lying, tensors | {name + ".step": tensors[name + ".step"] * float("nan")}, difference_from=origin)
    refused(lying, "not finite")


def test_a_difference_from_another_network_is_not_written(trained_on, tmp_path):
    other = NETWORKS["patch-critic"].build(channels=4)
    loaded = dataclasses.replace(load_network(trained_on[0], role="critic"), module=other)
    with pytest.raises(WeightsError, match="other tensors"):
        save.save_difference(tmp_path / "x.safetensors", loaded, "known", CARD)
    assert not (tmp_path / "x.safetensors").exists()


# Registry and store


def toml(path, **changes):
    """A registry of one entry "known", with fields changed or (None) left out."""
    fields = {
        "network": "patch-critic",
        "file": "critic.safetensors",
        "size": 100,
        "sha256": "0" * 64,
        "licence": "MIT",
        "data": "noise",
        "score": "none",
        **changes,
    }
    written = {key: json.dumps(value).replace('":', '" =') for key, value in fields.items() if value is not None}
    lines = [f"{key} = {value}" for key, value in written.items()]
    path.write_text("\n".join(["[weights.known]", *lines, "[set.meta]", 'critic = "known"']), encoding="utf-8")
    return registry.read(path)


@pytest.fixture
def registered(tmp_path, monkeypatch, critic):
    """Installs a registry of one entry; call it with the fields to change. Cache and bundled folders are empty."""
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "BUNDLED", tmp_path / "bundled")
    for folder in ("cache", "bundled"):
        (tmp_path / folder).mkdir()

    def install(**changes):
        current = toml(tmp_path / "weights.toml", **changes)
        monkeypatch.setattr(registry, "installed", lambda: current)
        return current.find("known")

    install()
    return install


def test_weights_to_adapt_from_must_be_there(tmp_path):
    own = {"network": "known"}
    assert toml(tmp_path / "weights.toml", adapt_from=own).find("known").adapt_from == own
    for wrong in ({"camera": "other"}, {"lens": "known"}, {"camera": 3}):
        with pytest.raises(WeightsError, match=r"adapt_from, .* is not among the weights"):
            toml(tmp_path / "weights.toml", adapt_from=wrong)
    with pytest.raises(WeightsError, match="adapt_from must be of type dict"):
        toml(tmp_path / "weights.toml", adapt_from="known")


def test_entries_and_sets(tmp_path):
    current = toml(tmp_path / "weights.toml", bundled=True, sources=["https://example.org/critic.safetensors"])
    entry = current.find("known")
    assert (entry.name, entry.size, entry.bundled) == ("known", 100, True)
    assert entry.sources == ("https://example.org/critic.safetensors",)
    assert current.weights_of("meta") == {"critic": entry}
    with pytest.raises(WeightsError, match=r"no weights are called 'knwon'; did you mean 'known'\?"):
        current.find("knwon")
    with pytest.raises(WeightsError, match="no weights are called 'x'; there are: known"):
        current.find("x")
    with pytest.raises(WeightsError, match="no set of weights is called 'metta'"):
        current.weights_of("metta")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sha256": None}, "weights.known: sha256 is missing"),
        ({"sha256": "abc"}, "sha256 is not valid"),
        ({"sha256": "G" * 64}, "sha256 is not valid"),
        ({"size": 0}, "size is not valid"),
        ({"size": "100"}, "size must be of type int"),
        ({"size": True}, "size must be of type int"),
        ({"file": "../critic.safetensors"}, "file is not valid"),
        ({"file": "/critic.safetensors"}, "file is not valid"),
        ({"file": "critic.pth"}, "file is not valid"),
        ({"file": "critic.npz"}, "file is not valid"),
        ({"network": "niqe"}, "file is not valid"),
        ({"sources": ["http://example.org/x"]}, "sources is not valid"),
        ({"sources": ["hf://owner/name/file"]}, "sources is not valid"),
        ({"sources": ["hf://owner/name@main/../file"]}, "sources is not valid"),
        ({"terms": "free-ish"}, "terms is not valid"),
        ({"name": "other"}, "unknown key 'name'"),
        ({"url": "x"}, "unknown key 'url'"),
    ],
)
def test_faulty_entries(tmp_path, changes, match):
    with pytest.raises(WeightsError, match=match):
        toml(tmp_path / "weights.toml", **changes)


OFFICIAL = {
    "network": "patch-critic",
    "licence": "MIT",
    "terms": "free",
    "data": "noise",
    "score": "none",
    "citation": "Us, 2026",
    "instructions": "look",
}


def official_toml(path, published, **changes):
    """A registry of one entry "known" that others published."""
    fields = {key: value for key, value in {**OFFICIAL, **changes}.items() if value is not None}
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    for file in published:
        lines += ["[[weights.known.published]]", *(f"{key} = {json.dumps(value)}" for key, value in file.items())]
    path.write_text("\n".join(["[weights.known]", *lines]), encoding="utf-8")
    return registry.read(path).find("known")


def test_official_entries(tmp_path):
    path = tmp_path / "weights.toml"
    first = {"file": "a.pth", "size": 3, "sha256": "0" * 64, "sources": ["https://example.org/a", "hf://a/b@c/d/e"]}
    entry = official_toml(path, [first, {"file": "b.pkl", "size": 4}])
    assert (entry.file, entry.size, entry.sha256) == ("known.safetensors", 7, "")
    assert [file.file for file in entry.published] == ["a.pth", "b.pkl"]
    assert entry.downloads == ()
    assert official_toml(path, [first], instructions=None).downloads == entry.published[:1]
    assert official_toml(path, [first, {"file": "b.pkl"}]).size == 0


@pytest.mark.parametrize(
    ("published", "changes", "match"),
    [
        ([{"size": 3}], {}, "published: file is missing"),
        ([{"file": "../x"}], {}, "published: file is not valid"),
        ([{"file": "x", "size": -3}], {}, "published: size is not valid"),
        ([{"file": "x", "sha256": "abc"}], {}, "published: sha256 is not valid"),
        ([{"file": "x", "sources": ["http://example.org"]}], {}, "published: sources is not valid"),
        ([{"file": "x", "sources": ["http://example.org/a.zip"]}], {}, "published: sources is not valid"),
        ([{"file": "x", "member": "a/x", "sources": ["http://example.org/x"]}], {}, "published: sources is not valid"),
        ([{"file": "x", "member": "a/x"}], {}, "published: sources is not valid"),
        ([{"file": "x", "name": "y"}], {}, "published: unknown key 'name'"),
        ([{"file": "x"}], {"instructions": None}, "instructions is not valid"),
        ([{"file": "x"}], {"terms": None}, "terms is missing"),
        ([{"file": "x"}], {"terms": "any"}, "terms is not valid"),
        ([{"file": "x"}], {"bundled": True}, "published is not valid"),
        ([{"file": "x"}], {"sources": ["https://example.org"]}, "sources is not valid"),
        ([{"file": "x"}], {"sha256": "0" * 64}, "unknown key 'sha256'"),
    ],
)
def test_faulty_official_entries(tmp_path, published, changes, match):
    with pytest.raises(WeightsError, match=match):
        official_toml(tmp_path / "weights.toml", published, **changes)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[weights", "not a registry"),
        ("weights = 3", "must hold tables"),
        ("[weights]\nx = 1", "must hold tables"),
        ("[wieghts.x]", "unknown table 'wieghts'"),
        ('[set.meta]\ndeblur = "absent"', "'absent' is not among the weights"),
        ("[set.meta]\ndeblur = [1]", "is not among the weights"),
        ("\udcff", "not a registry"),
    ],
)
def test_faulty_registries(tmp_path, text, match):
    path = tmp_path / "weights.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightsError, match=match):
        registry.read(path)


def test_a_registry_in_the_working_folder_is_not_read(tmp_path):
    toml(tmp_path / "weights.toml")
    code = (
        "from deblurcli.errors import WeightsError; from deblurcli.weights import registry\n"
        "try: print('known' in registry.installed().weights)\n"
        "except WeightsError: print(False)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(registry.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_registry_and_store_do_not_need_torch():
    code = "import sys, deblurcli.weights.registry, deblurcli.weights.store; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(registry.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def facts_of(path):
    content = path.read_bytes()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_bundled_then_cached_then_nowhere(registered, saved, tmp_path):
    entry = registered(**facts_of(saved))
    with pytest.raises(WeightsError, match=r"not on this machine; put the file at .*cache"):
        store.locate(entry)
    assert [(row.state, row.path) for row in store.listing()] == [("available", None)]
    cached = tmp_path / "cache" / entry.file
    cached.write_bytes(saved.read_bytes())
    assert store.locate(entry) == cached
    assert [(row.entry, row.state, row.path) for row in store.listing()] == [(entry, "cached", cached)]
    entry = registered(**facts_of(saved), bundled=True)
    bundled = tmp_path / "bundled" / entry.file
    bundled.write_bytes(saved.read_bytes())
    assert store.locate(entry) == bundled
    assert store.listing()[0].state == "bundled"
    store.verify(entry)
    assert load_network("known", role="critic").name == "known"
    bundled.unlink()
    cached.unlink()
    with pytest.raises(WeightsError, match="missing from the package; install deblurcli again"):
        store.locate(entry)


def test_files_that_are_not_the_registrys(registered, saved, tmp_path):
    entry = registered(**facts_of(saved))
    cached = tmp_path / "cache" / entry.file
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    for attempt in (lambda: store.verify(entry), lambda: load_network("known", role="critic")):
        with pytest.raises(WeightsError, match=r"sha256 is .* where the registry says .*a good copy"):
            attempt()
    cached.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=f"{len(content) - 1} bytes where the registry says {len(content)}"):
        store.verify(entry)


def test_a_file_for_another_network_than_the_registrys(registered, saved, tmp_path):
    entry = registered(**facts_of(saved), network="plain-unet")
    (tmp_path / "cache" / entry.file).write_bytes(saved.read_bytes())
    refused("known", "holds a 'patch-critic', the registry says 'plain-unet'")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    assert store.cache_folder() == tmp_path
    monkeypatch.delenv("DEBLUR_CACHE")
    assert store.cache_folder().name == "deblur"
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert store.cache_folder() == tmp_path / "deblur"
        monkeypatch.delenv("XDG_CACHE_HOME")

        def homeless():
            raise RuntimeError

        monkeypatch.setattr(store.Path, "home", homeless)
        with pytest.raises(WeightsError, match="set DEBLUR_CACHE"):
            store.cache_folder()


def test_the_installed_registry_agrees_with_the_networks_and_the_bundled_files():
    try:
        current = registry.installed()
    except WeightsError:
        pytest.skip("no registry in this checkout yet")
    for entry in current.weights.values():
        assert entry.network in NETWORKS or entry.network == registry.NIQE
        if entry.bundled:
            store.verify(entry)
    for job in current.sets:
        for role, entry in current.weights_of(job).items():
            assert NETWORKS[entry.network].role == role


def test_the_card_is_read_from_the_file_and_only_from_a_good_one(tmp_path, monkeypatch):
    assert store.card(registry.find("plain-unet"))["iterations"] > 0
    content = (registry.BUNDLED / "patch-critic.safetensors").read_bytes()
    content = content.replace(b'"card":', b'"cord":')
    (tmp_path / "patch-critic.safetensors").write_bytes(content)
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    entry = registry.find("patch-critic")
    with pytest.raises(WeightsError, match="sha256"):
        store.card(entry)
    with pytest.raises(WeightsError, match="no card"):
        store.card(dataclasses.replace(entry, sha256=hashlib.sha256(content).hexdigest()))


def test_a_file_from_before_an_option_keeps_its_network(tmp_path: Path) -> None:
    """What a file says of its network stands alone: a default that came later is not for it."""
    network = NETWORKS["plain-unet"].build(width=16, deep_width=16, blocks=(1, 1, 1))
    description = {"network": "plain-unet", "config": '{"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4}'}
    safetensors.torch.save_file(network.state_dict(), tmp_path / "old.safetensors", description | {"card": "{}"})
    loaded = load_network(tmp_path / "old.safetensors", role="deblur")
    assert "scales" not in loaded.config and loaded.module.scales == 1

"""Files as the networks' authors published them: every network's names, containers, and what is refused."""

import collections
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from parity import FOLDER, case, distance

from deblurcli.cli.app import run
from deblurcli.errors import WeightsError
from deblurcli.media.images import read_image
from deblurcli.metrics.fidelity import psnr
from deblurcli.networks import NETWORKS
from deblurcli.networks.dmphn import DMPHN
from deblurcli.weights.formats import official
from deblurcli.weights.load import load_network, opened

resource = pytest.importorskip("resource", reason="needs POSIX")

DMPHN_FOLDER = FOLDER.parent / "official" / "dmphn"
NETWORK = "reblurring-module"


def wrapped(state):
    """As MPRNet's: data parallel, with the optimizer's state."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    return {"epoch": 9, "state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": optimizer.state_dict()}


def with_statistics(state):
    """As old instance normalisation stored them, which the network has no use for."""
    return state | {"model.2.running_mean": torch.zeros(64), "model.2.num_batches_tracked": torch.tensor(0)}


PUBLISHED = {
    "mimo_unet": ("mimo-unet", lambda state: {"model": state, "epoch": 3000}),
    "mimo_unet_plus": ("mimo-unet-plus", lambda state: {"model": state, "epoch": 3000}),
    "mprnet": ("mprnet", wrapped),
    "restormer": ("restormer", lambda state: {"params": state}),
    "nafnet_w32": ("nafnet-w32", lambda state: {"params": state}),
    "nafnet_w64": ("nafnet-w64", lambda state: {"params": state}),
    "cdvd_tsp": ("cdvd-tsp", lambda state: state),
    "dmphn": ("dmphn", None),
    "srn": ("srn", lambda state: state),
    "dbn": ("dbn", lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}),
    "deblurgan_g": ("deblurgan", with_statistics),
    "flownets": ("flownet-s", lambda s: {"arch": "flownets", "state_dict": s, "div_flow": 20, "best": np.float64(1.9)}),
    "kernelwizard": ("kernel-extractor", lambda state: state),
    "videoadapt": ("videoadapt", lambda state: {f"module.{key}": value for key, value in state.items()}),
}
"""Each network's reference, and how its authors wrap its tensors."""


def hollow(keys):
    """Tensors of these names, shapes and types that take no space."""
    return {key: torch.zeros((), dtype=getattr(torch, kind)).expand(shape) for key, shape, kind, *_ in keys}


@pytest.mark.parametrize("new_form", [True, False])
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_networks_official_names(name, new_form, tmp_path):
    facts, _ = case(name)
    network, wrap = PUBLISHED[name]
    if network not in NETWORKS:
        pytest.skip(f"no {network} yet")
    state = hollow(facts["keys"])
    if wrap is None:
        for stem in official.DMPHN_FILES:
            part = {key.removeprefix(f"{stem}."): v for key, v in state.items() if key.startswith(f"{stem}.")}
            torch.save(part, tmp_path / f"{stem}.pkl", _use_new_zipfile_serialization=new_form)
        found = opened([tmp_path])
        assert opened(sorted(tmp_path.iterdir())).tensors.keys() == found.tensors.keys()
    else:
        path = tmp_path / "published.pth.tar"
        torch.save(wrap(state), path, _use_new_zipfile_serialization=new_form)
        found = opened([path])
    assert found.network == network and found.config.get("authors_pairing", True)
    assert {key: list(value.shape) for key, value in found.tensors.items()} == {k: s for k, s, *_ in facts["keys"]}


@pytest.mark.parametrize(
    ("network", "trunk"), [("lpips-alex", "alexnet-owt-7be5be79"), ("lpips-vgg", "vgg16-397923af")]
)
def test_a_trunk_and_its_heads(network, trunk, tmp_path):
    with torch.device("meta"):
        expected = NETWORKS[network].build(**NETWORKS[network].config).state_dict()
    state = hollow((key, value.shape, "float32") for key, value in expected.items())
    heads = {key: value for key, value in state.items() if key.startswith("lin")}
    classifier = {"classifier.6.weight": torch.zeros(()).expand(1000, 4096)}
    parts = [tmp_path / f"{trunk}.pth", tmp_path / f"{network[6:]}.pth"]
    torch.save({key: state[key] for key in state if key not in heads} | classifier, parts[0])
    torch.save(heads, parts[1])
    for order in (parts, parts[::-1]):
        found = opened(order)
        assert found.network == network and found.tensors.keys() == expected.keys()


@pytest.mark.parametrize("network", ["", "kernel-extractor"])
def test_a_variant_is_told_by_its_shapes(network, tmp_path):
    facts, _ = case("kernelwizard")
    torch.save(hollow(facts["keys"]) | hollow(facts["keys_wVAE_that_differ"]), tmp_path / "GOPRO_wVAE.pth")
    found = opened([tmp_path / "GOPRO_wVAE.pth"], network)
    assert (found.network, found.config) == ("kernel-extractor", {"width": 64, "variational": True})


@torch.no_grad()
def test_the_authors_weights_of_dmphn(tmp_path, monkeypatch, capsys):
    if not DMPHN_FOLDER.is_dir():
        pytest.skip("no official weights beside the reference vectors")
    _, arrays = case("dmphn_official")
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    assert run(["weights", "import", str(DMPHN_FOLDER), "--network", "dmphn"]) == 0
    assert "their authors state no licence" in capsys.readouterr().err
    loaded, direct = load_network("dmphn", role="deblur"), load_network(DMPHN_FOLDER, role="deblur")
    picture = torch.from_numpy(arrays["input_uint8"]).permute(2, 0, 1)[None] / 255
    restored = loaded.module(picture)
    assert distance(restored - 0.5, arrays["output_0"]) < 1e-5
    assert torch.equal(direct.module(picture), restored)
    assert loaded.card["source_sha256"] == direct.card["source_sha256"]
    assert run(["weights", "import", str(DMPHN_FOLDER / "encoder_lv1.pkl"), "--network", "dmphn"]) == 6
    error = capsys.readouterr().err.splitlines()[-1]
    assert "not all that the weights 'dmphn' are; give encoder_lv1.pkl encoder_lv2.pkl" in error


@pytest.mark.slow
def test_the_authors_result_of_dmphn(tmp_path, monkeypatch):
    if not DMPHN_FOLDER.is_dir():
        pytest.skip("no official weights beside the reference vectors")
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    assert run(["weights", "import", str(DMPHN_FOLDER), "--network", "dmphn"]) == 0
    output = tmp_path / "restored.png"
    source = str(DMPHN_FOLDER / "sample_input.png")
    assert run(["image", source, "-o", str(output), "--network", "dmphn", "--dtype", "fp32", "--offline"]) == 0
    restored, reference = (read_image(path).rgb() for path in (output, DMPHN_FOLDER / "sample_output.png"))
    assert psnr(restored, reference) >= 50


# What a file may hold besides


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return NETWORKS[NETWORK].build(blocks=1).state_dict()


@pytest.fixture
def saved(tmp_path, state):
    """Saves an object as torch does, in its old form if asked to; the path."""

    def save(thing, old=False):
        torch.save(thing, tmp_path / "model.pth", _use_new_zipfile_serialization=not old)
        return tmp_path / "model.pth"

    return save


def refused(path, match, role="reblur-image"):
    with pytest.raises(WeightsError, match=match) as caught:
        load_network(path, role=role)
    assert caught.value.code == 6
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_precisions(saved, state, dtype):
    path = saved({key: value.to(dtype) for key, value in state.items()})
    loaded = load_network(path, role="reblur-image").module.state_dict()
    assert all(torch.equal(loaded[key], value.to(dtype).float()) for key, value in state.items())


@pytest.mark.parametrize("old", [True, False])
def test_what_training_leaves_beside_the_weights(saved, state, old):
    scores = {"psnr": np.float64(31.7), "ssim": np.float32(0.9), "steps": np.int64(10)}
    ordered = collections.OrderedDict((key, torch.nn.Parameter(value)) for key, value in state.items())
    extra = {"schedule": collections.Counter([1, 2, 2]), "loss": torch.tensor(3.0), "note": "ä", "rate": 1e-4}
    path = saved({"state_dict": ordered, **scores, **extra}, old)
    assert load_network(path, role="reblur-image").network == NETWORK


def test_a_safetensors_file_without_a_description(tmp_path, state):
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(safetensors.torch.save(state))
    loaded = load_network(path, role="reblur-image")
    assert (loaded.network, loaded.config, loaded.name) == (NETWORK, {"blocks": 1}, "theirs")


def test_variants_and_networks_with_the_same_tensors(tmp_path):
    for network, changes in (("deblurgan", {"dropout": False}), ("dhn", {})):
        config = {**NETWORKS[network].config, **changes}
        with torch.device("meta"):
            expected = NETWORKS[network].build(**config).state_dict()
        path = tmp_path / f"{network}.pth"
        torch.save(hollow((k, v.shape, "float32") for k, v in expected.items()), path)
        assert (opened([path], network).network, opened([path], network).config) == (network, config)
    assert opened([tmp_path / "deblurgan.pth"]).config == {"blocks": 9, "dropout": False}
    assert opened([tmp_path / "dhn.pth"]).network == "dmphn"


@pytest.mark.parametrize("blocks", [4, 8, 16, 32])
def test_residual_unets_are_told_from_their_tensors(tmp_path, blocks):
    with torch.device("meta"):
        expected = NETWORKS["residual-unet"].build(blocks=blocks).state_dict()
    torch.save(hollow((k, v.shape, "float32") for k, v in expected.items()), tmp_path / "x.pth")
    found = opened([tmp_path / "x.pth"])
    assert (found.network, found.config) == ("residual-unet", {"blocks": blocks})


# What is refused


def test_other_networks_and_other_values(saved, state):
    refused(saved(torch.nn.Linear(3, 3).state_dict()), "holds the tensors of no network known here")
    refused(saved(NETWORKS["patch-critic"].build().state_dict()), "'patch-critic' is a critic network; a reblur-image")
    first = next(iter(state))
    for value in (float("nan"), float("inf")):
        refused(saved({**state, first: torch.full_like(state[first], value)}), f"{first} holds numbers that are not fi")
    refused(saved({**state, first: state[first].to(torch.int32)}), f"{first} is int32")
    refused(saved({}), "holds no tensors by name")
    refused(saved([1, 2]), "holds no tensors by name")
    refused(saved({**state, "extra": 3}), "'extra' in it is not a tensor")
    refused(saved({**state, 3: state[first]}), "'3' in it is not a tensor")
    refused(saved(state[first]), "holds no tensors by name")


def test_the_wrong_network_named_by_the_user(saved, state, tmp_path, capsys):
    path, output = saved(state), tmp_path / "out.safetensors"
    assert run(["weights", "import", str(path), "--network", "srn", "-o", str(output)]) == 6
    error = capsys.readouterr().err
    assert error.startswith("deblur: model.pth: misses tensors: dec1_0.bias") and error.count("\n") == 1
    assert not output.exists()


def test_several_files_that_do_not_belong_together(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "encoder_lv1.pth")
    refused(tmp_path, "encoder_lv2 is missing; DMPHN is 8 files")
    with pytest.raises(WeightsError, match="encoder_lv2 is missing; DMPHN is 8 files"):
        opened([tmp_path / "a.pth", tmp_path / "encoder_lv1.pth"])
    with pytest.raises(WeightsError, match="not a file of weights, nor a folder"):
        opened([tmp_path.parent / tmp_path.name / ".."])
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "not a file of weights, nor a folder")


class Call:
    """A pickle of it calls ``function`` when it is loaded."""

    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


@pytest.mark.parametrize("old", [True, False])
def test_code_in_every_place(saved, state, old, tmp_path, capsys):
    canary, output = tmp_path / "canary", tmp_path / "out.safetensors"
    attacks = [
        Call(os.system, f"touch {canary}"),
        Call(eval, f"open({str(canary)!r}, 'w')"),
        Call(torch.load, str(canary)),
        Call(bytearray, 10**10),
        Call(getattr, "x", "__class__"),
    ]
    for attack in attacks:
        for thing in (attack, {"state_dict": state, "extra": attack}, {**state, "x": [{"y": attack}]}):
            path = saved(thing, old)
            refused(path, "which weights do not need; nothing of it was run")
            assert run(["weights", "import", str(path), "--network", NETWORK, "-o", str(output)]) == 6
    assert not canary.exists() and not output.exists()
    assert all(line.startswith("deblur: ") for line in capsys.readouterr().err.splitlines())


def test_files_that_take_for_ever_or_all_memory(tmp_path, saved, state):
    path = tmp_path / "model.pth"
    pairs = b"".join(b"q%ch%c\x86" % (number, number) for number in range(40))
    path.write_bytes(b"\x80\x02})" + pairs + b"K\x01s.")  # {((..., ...), (..., ...)): 1}, hashed 2^40 times over
    refused(path, "tuples of tuples")
    path.write_bytes(pickle.dumps(np.dtype("V2000000000"), protocol=2))
    refused(path, "a number of 2000000000 bytes")
    load_network(saved({"model": state, "betas": [(0.9, shared := (0.1, 0.2)), shared, shared]}), role="reblur-image")


def test_an_archive_whose_checksum_does_not_fit(saved, state):
    path = saved(state)
    content = bytearray(path.read_bytes())
    place = content.index(next(iter(state.values())).numpy().tobytes()[:64])
    content[place] ^= 1
    path.write_bytes(content)
    refused(path, "a checksum in it does not fit")


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_pickles_of_other_forms(tmp_path, protocol):
    canary, path = tmp_path / "canary", tmp_path / "model.pth"
    content = pickle.dumps(Call(os.system, f"touch {canary}"), protocol=protocol)
    for text in (content, b"\x80\x02" + content[2 * (protocol > 1) :]):
        path.write_bytes(text)
        refused(path, "model.pth: ")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", text)
            archive.writestr("archive/version", "3")
        refused(path, "model.pth: ")
    assert not canary.exists()


class Stub:
    """Stands for a storage that is not there."""


class Storages(pickle.Pickler):
    """Writes tensors over a storage that claims any number of elements."""

    claimed = 0

    def persistent_id(self, thing):
        return ("storage", torch.FloatStorage, "0", "cpu", self.claimed, None) if isinstance(thing, Stub) else None


def claiming(elements, size, stride):
    """A file in the old form that claims a tensor of ``size`` over a storage of ``elements``."""
    file = io.BytesIO()
    for thing in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(thing, file, protocol=2)
    tensor = Call(torch._utils._rebuild_tensor_v2, Stub(), 0, size, stride, False, collections.OrderedDict())
    pickler = Storages(file, protocol=2)
    pickler.claimed = elements
    pickler.dump({"weight": tensor})
    pickle.dump(["0"], file, protocol=2)
    file.write(struct.pack("<q", elements))
    file.write(b"\0" * 64)
    return file.getvalue()


def peak():
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_claims_cost_no_memory(tmp_path, saved):
    path = tmp_path / "model.pth"
    refused(saved(torch.nn.Linear(3, 3).state_dict()), "no network known here")
    before = peak()
    for elements, size, stride in ((25 * 10**9, (5,), (1,)), (16, (10**6, 10**6), (0, 0)), (16, (10**10,), (1,))):
        path.write_bytes(claiming(elements, size, stride))
        refused(path, "damaged or cut short|no network known here")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", "3")
        with archive.open("archive/data.pkl", "w") as inside:
            for _ in range(512):
                inside.write(b"N" * (1 << 20))
    assert path.stat().st_size < 1 << 20
    refused(path, "compressed, which PyTorch's files are not")
    path = path.with_suffix(".safetensors")
    path.write_bytes((100 * 10**9).to_bytes(8, "little") + b'{"a":' + b" " * 1000)
    refused(path, "damaged or cut short")
    path.write_bytes((2).to_bytes(8, "little") + b"{}" + b"\0" * 1000)
    refused(path, "damaged or cut short")
    assert peak() - before < 64 << 20


def test_overlapping_tensors_and_archives(tmp_path, saved, state):
    path = tmp_path / "x.safetensors"
    facts = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    header = json.dumps({"a": facts, "b": facts}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    refused(path, "damaged or cut short")
    path = saved(state)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")  # the last file of the archive, as its directory lists it
    content[place + 20 : place + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    refused(path, "its parts overlap, or claim more bytes than it has")


def test_archives_that_are_no_weights(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, "a zip archive, not a PyTorch file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", "")
        archive.writestr("model/constants.pkl", "")
    refused(path, "a TorchScript program")


@pytest.mark.parametrize("old", [True, False])
def test_truncation_and_damage(saved, state, old):
    small = {key: value.flatten()[:1].clone() for key, value in state.items()}
    path = saved(small, old)
    content, generator = path.read_bytes(), torch.Generator().manual_seed(0)
    for length in range(0, len(content), max(len(content) // 60, 1)):
        path.write_bytes(content[:length])
        refused(path, "model.pth: ")
    for _ in range(150):
        damaged = bytearray(content)
        for place in torch.randint(0, len(content), (3,), generator=generator).tolist():
            damaged[place] = int(torch.randint(0, 256, (1,), generator=generator))
        path.write_bytes(damaged)
        refused(path, "model.pth: ")


def test_the_parts_of_dmphn_are_those_of_the_network():
    assert {name for name, _ in DMPHN().named_children()} == set(official.DMPHN_FILES)

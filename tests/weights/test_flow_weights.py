"""Published weights of flow networks: the names of both forms of PWC-Net, and FlowNetS with batch normalisation."""

import pytest
import torch

from deblurcli.cli.app import run
from deblurcli.errors import WeightsError
from deblurcli.networks import NETWORKS
from deblurcli.weights.load import load_network, opened

NAMES = {
    "conv1a.0": "moduleExtractor.moduleOne.0", "conv1aa.0": "moduleExtractor.moduleOne.2",
    "conv1b.0": "moduleExtractor.moduleOne.4", "conv6aa.0": "moduleExtractor.moduleSix.0",
    "conv6a.0": "moduleExtractor.moduleSix.2", "conv6b.0": "moduleExtractor.moduleSix.4",
    "conv6_0.0": "moduleSix.moduleOne.0", "conv2_4.0": "moduleTwo.moduleFiv.0",
    "predict_flow6": "moduleSix.moduleSix.0",
    "predict_flow2": "moduleTwo.moduleSix.0", "deconv6": "moduleFiv.moduleUpflow", "upfeat3": "moduleTwo.moduleUpfeat",
    "dc_conv1.0": "moduleRefiner.moduleMain.0", "dc_conv7": "moduleRefiner.moduleMain.12",
}  # fmt: skip
"""Some layers as the authors of PWC-Net call them, and as the conversion and CDVD-TSP do."""


def authors_name(layer):
    """What the authors of PWC-Net call a layer."""
    numbers = ["One", "Two", "Thr", "Fou", "Fiv", "Six"]
    parts = layer.split(".")
    if parts[0] == "moduleExtractor":
        level = numbers.index(parts[1][6:]) + 1
        return f"conv{level}{(['aa', 'a', 'b'] if level == 6 else ['a', 'aa', 'b'])[int(parts[2]) // 2]}.0"
    if parts[0] == "moduleRefiner":
        index = int(parts[2]) // 2 + 1
        return f"dc_conv{index}" + (".0" if index < 7 else "")
    level = numbers.index(parts[0][6:]) + 1
    if parts[1] in ("moduleUpflow", "moduleUpfeat"):
        return f"{'deconv' if parts[1] == 'moduleUpflow' else 'upfeat'}{level + 1}"
    return f"predict_flow{level}" if parts[1] == "moduleSix" else f"conv{level}_{numbers.index(parts[1][6:])}.0"


@pytest.mark.parametrize("form", ["authors", "conversion"])
def test_both_forms_of_pwc_net_are_for_blue_before_red(form, tmp_path):
    module = NETWORKS["pwc-net"].build()
    published = {}
    for key, value in module.state_dict().items():
        layer, _, kind = key.removeprefix("moduleNetwork.").rpartition(".")
        name = authors_name(layer) if form == "authors" else layer
        published[f"{name}.{kind}"] = value.flip(1) if value.shape == (16, 3, 3, 3) else value
    if form == "authors":
        assert {theirs: authors_name(ours) for theirs, ours in NAMES.items()} == {n: n for n in NAMES}
        published |= {"deconv2.weight": torch.zeros(2, 2, 4, 4), "deconv2.bias": torch.zeros(2)}
    path = tmp_path / "pwc_net.pth.tar"
    torch.save(published, path)
    found = opened([path])
    assert found.network == "pwc-net"
    assert all(torch.equal(found.tensors[key], value) for key, value in module.state_dict().items())
    assert load_network(path, role="flow").network == "pwc-net"
    torch.save(published | {"conv7_0.0.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="holds the tensors of no network known here"):
        load_network(path, role="flow")


def test_flownet_s_with_batch_normalisation_is_imported_under_its_name(tmp_path, monkeypatch):
    state = NETWORKS["flownet-s"].build(batch_norm=True).state_dict()
    path = tmp_path / "flownets_bn_EPE2.459.pth.tar"
    torch.save({"arch": "flownets_bn", "state_dict": state, "div_flow": 20}, path)
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    assert run(["weights", "import", str(path), "--network", "flownet-s", "-o", str(tmp_path / "bn.safetensors")]) == 0
    for file in (path, tmp_path / "bn.safetensors"):
        loaded = load_network(file, role="flow")
        assert (loaded.network, loaded.config) == ("flownet-s", {"batch_norm": True})

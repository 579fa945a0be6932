"""Checkpoints of TensorFlow and files of Torch7: written here from the formats' descriptions, read by the package."""

import struct

import numpy as np
import pytest
import torch

from deblurcli.console import Reporter
from deblurcli.errors import WeightsError
from deblurcli.networks.dbn import DBN
from deblurcli.networks.srn import SRN
from deblurcli.weights import registry
from deblurcli.weights.formats import tensorflow, torch7
from deblurcli.weights.load import load_network, opened
from deblurcli.weights.pull import import_files

NUMBERS = "deblur.model-1.data-00000-of-00001"
INDEX = "deblur.model-1.index"


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def block(entries, shared=True):
    """A block of the table: every 16th key in full, the others without what they share with the one before."""
    out, restarts, before = b"", [], b""
    for count, (key, value) in enumerate(entries):
        same = 0
        if count % 16 == 0 or not shared:
            restarts.append(len(out))
        else:
            while same < min(len(key), len(before)) and key[same] == before[same]:
                same += 1
        out += varint(same) + varint(len(key) - same) + varint(len(value)) + key[same:] + value
        before = key
    return (
        out + b"".join(struct.pack("<I", place) for place in restarts or [0]) + struct.pack("<I", len(restarts or [0]))
    )


def checkpoint(variables, kind=1):
    """Index and numbers of a TensorFlow checkpoint."""
    numbers, entries = b"", [(b"", b"\x08\x01\x1a\x02\x08\x01")]
    for name, value in sorted(variables.items()):
        content = value.astype("<f4").tobytes()
        shape = b"".join(b"\x12" + varint(len(part)) + part for part in (b"\x08" + varint(n) for n in value.shape))
        message = b"\x08" + varint(kind) + b"\x12" + varint(len(shape)) + shape
        message += b"\x20" + varint(len(numbers)) + b"\x28" + varint(len(content)) + b"\x35" + struct.pack("<I", 7)
        entries.append((name.encode(), message))
        numbers += content
    table, handles = b"", []
    for start in range(0, len(entries), 40):
        part = block(entries[start : start + 40])
        handles.append((entries[min(start + 39, len(entries) - 1)][0], varint(len(table)) + varint(len(part))))
        table += part + b"\0" + struct.pack("<I", 0)
    places = []
    for part in (block([]), block(handles, shared=False)):
        places += [len(table), len(part)]
        table += part + b"\0" + struct.pack("<I", 0)
    footer = b"".join(map(varint, places))
    return table + footer.ljust(40, b"\0") + tensorflow.MAGIC, numbers


@pytest.fixture(scope="module")
def srn():
    torch.manual_seed(0)
    return SRN()


def variables_of(network):
    """As TensorFlow names and turns them."""
    found = {"global_step": np.zeros(1), "beta1_power": np.ones(())}
    for key, value in network.state_dict().items():
        name = "g_net/" + key.replace(".", "/").replace("weight", "weights").replace("bias", "biases")
        found[name] = value.permute(2, 3, 1, 0).numpy() if value.dim() == 4 else value.numpy()
        found[f"{name}/Adam"] = np.zeros(3)
    return found


def write(folder, index, numbers):
    (folder / INDEX).write_bytes(index)
    (folder / NUMBERS).write_bytes(numbers)
    return folder / INDEX


def test_srn(tmp_path, srn):
    path = write(tmp_path, *checkpoint(variables_of(srn)))
    (tmp_path / "deblur.model-1.meta").write_bytes(b"graph")
    for source in (path, tmp_path, str(path)):
        loaded = load_network(source, role="deblur")
        assert loaded.network == "srn"
        assert all(torch.equal(value, srn.state_dict()[key]) for key, value in loaded.module.state_dict().items())
    assert set(opened([path, tmp_path / NUMBERS]).files) == {INDEX, NUMBERS}


def test_both_files_are_imported(tmp_path, srn, monkeypatch):
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, *checkpoint(variables_of(srn)))
    target = import_files([path], "srn", Reporter.silent())
    assert target == tmp_path / "cache" / "srn.safetensors"
    assert load_network("srn", role="deblur").card["source_sha256"].keys() == {INDEX, NUMBERS}


def refused(path, match, role="deblur"):
    with pytest.raises(WeightsError, match=match) as caught:
        load_network(path, role=role)
    assert "\n" not in str(caught.value)


def test_checkpoints_that_are_not_whole(tmp_path, srn):
    index, numbers = checkpoint({"g_net/x": np.ones((2, 3)), "g_net/y": np.ones(4)})
    path = write(tmp_path, index, numbers)
    refused(path, "holds the tensors of no network known here")
    write(tmp_path, index, numbers[:-1])
    refused(path, "g_net/y is not in the file of numbers")
    (tmp_path / NUMBERS).unlink()
    refused(path, "not one checkpoint of TensorFlow; give its .index and its .data file")
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        damaged = bytearray(index)
        for place in torch.randint(0, len(index) - 8, (2,), generator=generator).tolist():
            damaged[place] = int(torch.randint(0, 256, (1,), generator=generator))
        refused(write(tmp_path, bytes(damaged), numbers), "deblur.model-1.index: ")
    write(tmp_path, index.replace(b"\x20\x18\x28", b"\x20\x00\x28"), numbers)
    refused(path, "holds the tensors of no network known here")
    write(tmp_path, index.replace(b"\x20\x18\x28", b"\x20\x00\x28"), numbers[:24])
    refused(path, "is not in the file of numbers")
    assert tensorflow.tensors_of("x", *checkpoint({"i": np.ones(2)}, kind=3)) == {}


def test_a_block_is_read_once():
    """An index may list a block as often as it likes, and each would be gone through."""
    _, numbers = checkpoint({"g_net/x": np.ones(2)})
    first = block([(b"k", varint(0) + varint(0))])
    listed = block([(b"%06d" % n, varint(0) + varint(len(first))) for n in range(20_000)], shared=False)
    table = first + b"\0" * 5 + listed + b"\0" * 5
    footer = b"".join(map(varint, (0, 0, len(first) + 5, len(listed))))
    with pytest.raises(WeightsError, match="damaged or cut short"):
        tensorflow.tensors_of("x", table + footer.ljust(40, b"\0") + tensorflow.MAGIC, numbers)


class Lua:
    """Writes Torch7's form of tensors, tables, numbers and strings."""

    def __init__(self):
        self.out, self.count = b"", 0

    def number(self, value):
        self.out += struct.pack("<id", torch7.NUMBER, value)

    def string(self, text):
        self.out += struct.pack("<i", len(text)) + text.encode()

    def opening(self, kind):
        self.count += 1
        self.out += struct.pack("<ii", kind, self.count)

    def tensor(self, value, kind="Float"):
        value = np.asarray(value)
        self.opening(torch7.TORCH)
        self.string("V 1")
        self.string(f"torch.{kind}Tensor")
        self.out += struct.pack("<i", value.ndim)
        strides = [stride // value.itemsize for stride in value.strides]
        self.out += struct.pack(f"<{2 * value.ndim}q", *value.shape, *strides) + struct.pack("<q", 1)
        self.opening(torch7.TORCH)
        self.string("V 1")
        self.string(f"torch.{kind}Storage")
        self.out += struct.pack("<q", value.size) + value.astype(torch7.KINDS.get(kind, "<f4")).tobytes()

    def table(self, values):
        """Of anything by number, from 1."""
        self.opening(torch7.TABLE)
        self.out += struct.pack("<i", len(values))
        for number, value in enumerate(values, 1):
            self.number(number)
            self.table(value) if isinstance(value, list) else self.tensor(value)


@pytest.fixture(scope="module")
def dbn():
    torch.manual_seed(1)
    network = DBN()
    for value in network.buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network.eval()


def lua(method, *arguments):
    writer = Lua()
    getattr(writer, method)(*arguments)
    return writer.out


@pytest.mark.parametrize("kind", ["Float", "Cuda", "Double"])
def test_dbn(tmp_path, dbn, kind):
    row = torch.cat([p.detach().flatten() for p in dbn.parameters()]).numpy()
    statistics = [[v.numpy() for k, v in dbn.named_buffers() if k.endswith(end)] for end in torch7.STATISTICS]
    assert len(statistics[0]) == 22
    (tmp_path / "param_epoch_400.t7").write_bytes(lua("tensor", row, kind))
    (tmp_path / "bn_meanvar_epoch_400.t7").write_bytes(lua("table", statistics))
    loaded = load_network(tmp_path, role="deblur")
    assert loaded.network == "dbn"
    assert all(torch.equal(value, dbn.state_dict()[key]) for key, value in loaded.module.state_dict().items())


def test_files_of_torch7_that_are_not_dbns(tmp_path):
    path = tmp_path / "x.t7"
    content = lua("tensor", np.ones((2, 3), "f4"))
    assert torch7.object_of("x", content).tolist() == [[1, 1, 1]] * 2
    turned = lua("tensor", np.arange(6, dtype="f4").reshape(2, 3).T)
    assert torch7.object_of("x", turned).shape == (3, 2)
    path.write_bytes(content)
    refused(path, "not the parameters and statistics of DBN; DBN is two files")
    for length in range(4, len(content)):
        path.write_bytes(content[:length])
        refused(path, "x.t7: damaged or cut short")
    path.write_bytes(content.replace(b"torch.FloatTensor", b"torch.EvilTensors"))
    refused(path, "holds a 'torch.EvilTensors'; nothing of it was run")
    path.write_bytes(struct.pack("<iii", 3, 1, 1) + struct.pack("<id", 1, 1.0) + struct.pack("<ii", 8, 1))
    refused(path, "holds a function; nothing of it was run")
    path.write_bytes(b"".join(struct.pack("<iiiid", 3, number, 1, 1, 1.0) for number in range(2000)))
    refused(path, "damaged")
    size = content.index(struct.pack("<q", 2))
    path.write_bytes(content[:size] + struct.pack("<q", 10**12) + content[size + 8 :])
    refused(path, "damaged")


def test_the_registry_knows_the_files():
    for name in ("srn", "dbn"):
        assert len(registry.find(name).published) == 2

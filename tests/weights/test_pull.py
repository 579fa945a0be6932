"""Fetching weights: what servers do to them, processes at the same time, licences, the first download of many."""

import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from hub import site

from deblurcli.cli.app import run
from deblurcli.console import JsonLines, Reporter
from deblurcli.errors import OfflineError, OutputError, UsageError, WeightsError
from deblurcli.networks import NETWORKS
from deblurcli.weights import download, registry, store
from deblurcli.weights.choose import load_chosen
from deblurcli.weights.load import load_network
from deblurcli.weights.pull import import_files, pull
from deblurcli.weights.registry import PublishedFile, WeightEntry
from deblurcli.weights.save import encoded

ROOT = Path(__file__).parents[2]
NETWORK = "reblurring-module"
SILENT = Reporter.silent()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return NETWORKS[NETWORK].build(blocks=1)


@pytest.fixture(scope="module")
def ours(network):
    """A file of ours."""
    return encoded("test", network.state_dict(), NETWORK, {}, {"data": "noise"}, torch.float16)


@pytest.fixture(scope="module")
def theirs(network, tmp_path_factory):
    """The same network as others publish theirs."""
    path = tmp_path_factory.mktemp("published") / "model.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    return path.read_bytes()


@pytest.fixture
def server():
    with site() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEBLUR_CACHE", str(folder))
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    for name in ("DEBLUR_OFFLINE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return folder


def sha256_of(content):
    return hashlib.sha256(content).hexdigest()


def own(content, *sources):
    """An entry whose file is one of ours."""
    return WeightEntry(
        "known", NETWORK, "known.safetensors", len(content), sha256_of(content), "MIT", "noise", "-", sources=sources
    )


def official(content, *sources, stated=True, **changes):
    """An entry whose file others published."""
    facts = {"size": len(content), "sha256": sha256_of(content)} if stated else {}
    published = (PublishedFile("model.pth", sources, **facts),)
    entry = WeightEntry("known", NETWORK, "known.safetensors", len(content), "", "MIT", "noise", "-")
    return dataclasses.replace(entry, published=published, **changes)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def install(monkeypatch):
    """Puts entries in the place of the installed registry."""

    def put(*entries):
        known = registry.Registry({entry.name: entry for entry in entries}, {"image": {"reblur-image": "known"}})
        monkeypatch.setattr(registry, "installed", lambda: known)

    return put


# Servers


def test_a_file_of_ours(cache, server, ours):
    server.files["f"] = ours
    entry = own(ours, f"{server.url}/f")
    path = pull(entry, SILENT)
    assert path == cache / "known.safetensors" and path.read_bytes() == ours
    assert files_in(cache) == ["known.safetensors"]
    assert pull(entry, SILENT) == path
    assert len(server.requests) == 1


def test_an_official_file_is_verified_and_converted(cache, server, theirs, network, install):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f", citation="Us, 2026")
    install(entry)
    pull(entry, SILENT)
    assert files_in(cache) == ["known.json", "known.safetensors"]
    store.verify(entry)
    assert store.read_note(entry).published == {"model.pth": sha256_of(theirs)}
    assert store.card(entry)["source_sha256"] == {"model.pth": sha256_of(theirs)}
    assert store.card(entry)["citation"] == "Us, 2026"
    loaded = load_network("known", role="reblur-image")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.module.state_dict().items())
    first = (cache / "known.safetensors").read_bytes()
    store.remove(entry)
    assert files_in(cache) == []
    pull(entry, SILENT)
    assert (cache / "known.safetensors").read_bytes() == first
    with pytest.raises(WeightsError, match="not in the cache"):
        store.remove(dataclasses.replace(entry, name="x", file="x.safetensors"))


def test_the_hub_and_a_mirror_of_it(cache, server, theirs, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.files["owner/name/resolve/main/sub/model.pth"] = theirs
    entry = official(theirs, "hf://owner/name@main/sub/model.pth")
    pull(entry, SILENT)
    assert [(method, path) for method, path, _ in server.requests] == [
        ("HEAD", "owner/name/resolve/main/sub/model.pth"),
        ("GET", "cdn/model.pth"),
    ]
    assert "hf_secret" in server.asked("owner/name/resolve/main/sub/model.pth", "HEAD")[0]["authorization"]
    assert "authorization" not in server.asked("cdn/model.pth")[0]


def test_the_hub_vouches_for_what_nobody_else_states(cache, server, theirs, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.files["owner/name/resolve/main/model.pth"] = theirs
    server.faults["cdn/model.pth"] = ["corrupt"]
    with pytest.raises(WeightsError, match=r"hf://owner/name: sha256 is"):
        pull(official(theirs, "hf://owner/name@main/model.pth", stated=False), SILENT)
    assert files_in(cache) == []


@pytest.mark.parametrize("status", [404, 403, 401])
def test_an_address_without_the_file_is_left_for_the_next(cache, server, ours, status, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.files |= {"a": ours, "b": ours, "owner/name/resolve/main/f": ours}
    server.faults |= {"a": [status], "owner/name/resolve/main/f": [status]}
    pull(own(ours, f"{server.url}/a", "hf://owner/name@main/f", f"{server.url}/b"), SILENT)
    assert len(server.asked("a")) == 1 and len(server.asked("b")) == 1
    assert len(server.asked("owner/name/resolve/main/f", "HEAD")) == 1


def test_nowhere(cache, server, ours, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    entry = own(ours, f"{server.url}/a", "hf://owner/name@main/f")
    monkeypatch.setattr(registry, "installed", lambda: registry.Registry({"known": entry}, {}))
    assert run(["weights", "pull", "known"]) == 7
    error = capsys.readouterr().err
    assert error.startswith("deblur: known.safetensors cannot be downloaded (127.0.0.1: 404 Not Found; hf://owner/")
    assert error.endswith(f"try again later, or put the file at {cache / 'known.safetensors'}\n")
    assert error.count("\n") == 1
    assert files_in(cache) == []


@pytest.mark.parametrize("fault", [500, 503, 429, "cut:100", "cut:0"])
def test_what_passes_is_tried_again(cache, server, ours, fault):
    server.files["f"] = ours
    server.faults["f"] = [fault, fault]
    assert pull(own(ours, f"{server.url}/f"), SILENT).read_bytes() == ours
    ranges = [headers.get("range") for headers in server.asked("f")]
    assert ranges == [None, *(("bytes=100-", "bytes=200-") if fault == "cut:100" else (None, None))]


def test_the_hub_is_tried_again(cache, server, ours, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.files["owner/name/resolve/main/f"] = ours
    server.faults["owner/name/resolve/main/f"] = [503, 502]
    assert pull(own(ours, "hf://owner/name@main/f"), SILENT).read_bytes() == ours


def test_what_does_not_pass_is_not(cache, server, ours):
    server.files["f"] = ours
    server.faults["f"] = [500] * 9
    with pytest.raises(OfflineError, match="500 Internal Server Error") as caught:
        pull(own(ours, f"{server.url}/f"), SILENT)
    assert caught.value.code == 7
    assert len(server.asked("f")) == download.ATTEMPTS


def test_a_server_that_ignores_ranges(cache, server, ours):
    server.files["f"] = ours
    server.faults["f"] = ["cut:1000", "ignore-range"]
    assert pull(own(ours, f"{server.url}/f"), SILENT).read_bytes() == ours
    assert server.asked("f")[1]["range"] == "bytes=1000-"


def test_halves_of_two_files_are_not_joined(cache, server, ours):
    server.files["f"] = ours
    server.faults["f"] = ["cut:1000", "corrupt"]
    assert pull(own(ours, f"{server.url}/f"), SILENT).read_bytes() == ours
    assert [headers.get("range") for headers in server.asked("f")] == [None, "bytes=1000-", None]


@pytest.mark.parametrize(
    ("fault", "match", "code"),
    [
        ("corrupt", "sha256 is .*, not ", 6),
        ("longer", "has .* bytes, not ", 6),
        ("endless", "sends more than .* bytes", 6),
        ("html", "a web page instead of the file", 7),
    ],
)
def test_other_content_is_never_kept(cache, server, ours, fault, match, code):
    server.files["f"] = server.files["g"] = ours
    server.faults["f"] = [fault] * 2
    with pytest.raises((WeightsError, OfflineError), match=match) as caught:
        pull(own(ours, f"{server.url}/f"), SILENT)
    assert caught.value.code == code and "\n" not in str(caught.value)
    assert files_in(cache) == []
    pull(own(ours, f"{server.url}/f", f"{server.url}/g"), SILENT)
    assert (cache / "known.safetensors").read_bytes() == ours


def test_a_web_page_that_says_it_is_a_file(cache, server, theirs):
    server.files["f"] = b"\n<html>" + b" " * 1000
    with pytest.raises(OfflineError, match="a web page"):
        pull(official(theirs, f"{server.url}/f", stated=False), SILENT)


def test_redirects(cache, server, ours):
    server.files |= {"f": ours, "g": b"", "loop": b""}
    server.faults |= {"g": [f"to:{server.url}/f"], "loop": [f"to:{server.url}/loop"] * 40}
    with pytest.raises(OfflineError):
        pull(own(ours, f"{server.url}/loop"), SILENT)
    pull(own(ours, f"{server.url}/g"), SILENT)
    redirects = download._Redirects()
    request = download.Request("https://example.org/f", headers={"Authorization": "secret"})
    with pytest.raises(download.Unusable, match="not https"):
        redirects.redirect_request(request, None, 302, "Found", {}, "http://example.org/f")
    following = redirects.redirect_request(request, None, 302, "Found", {}, "https://example.com/f")
    assert not following.has_header("Authorization")


def test_nobody_listens(cache, ours):
    with site() as gone:
        url = gone.url
    with pytest.raises(OfflineError, match="refused"):
        pull(own(ours, f"{url}/f"), SILENT)


def test_a_proxy_is_asked(cache, server, ours, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.files["http://weights.invalid/f"] = ours
    pull(own(ours, "http://weights.invalid/f"), SILENT)
    assert len(server.asked("http://weights.invalid/f")) == 1


def test_a_full_disk(cache, server, ours, monkeypatch):
    server.files["f"] = ours
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(OutputError, match="0 MB are free, the download needs") as caught:
        pull(own(ours, f"{server.url}/f"), SILENT)
    assert caught.value.code == 5
    monkeypatch.undo()
    monkeypatch.setenv("DEBLUR_CACHE", str(cache))

    def full(self, chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.Partial, "add", full)
    with pytest.raises(OutputError, match="no space left on device"):
        pull(own(ours, f"{server.url}/f"), SILENT)
    assert files_in(cache) == []


def test_progress_is_reported(cache, server, ours, capsys):
    server.files["f"] = ours
    pull(own(ours, f"{server.url}/f"), Reporter(JsonLines()))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {(line["type"], line["task"], line["total"]) for line in lines} == {
        ("progress", "pulling known.safetensors", len(ours))
    }


# What was fetched is not what it should be


def test_a_verified_file_of_another_network_is_refused(cache, server, tmp_path):
    torch.save(NETWORKS["patch-critic"].build().state_dict(), tmp_path / "model.pth")
    content = (tmp_path / "model.pth").read_bytes()
    server.files["f"] = content
    with pytest.raises(WeightsError, match=r"model.pth: misses tensors: .* and \d more"):
        pull(official(content, f"{server.url}/f"), SILENT)
    assert files_in(cache) == []


def test_without_a_stated_checksum_the_first_download_counts(cache, server, theirs, network, tmp_path, capsys):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f", stated=False)
    pull(entry, Reporter())
    said = f"nobody states a checksum for model.pth; from now on it is {sha256_of(theirs)}"
    assert said in capsys.readouterr().err
    (cache / entry.file).unlink()
    server.files["f"] = other = changed(network, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="is not that of the weights 'known'"):
        pull(entry, SILENT)
    assert files_in(cache) == ["known.json"]
    assert other != theirs
    server.files["f"] = theirs
    pull(entry, Reporter())
    assert "checksum" not in capsys.readouterr().err


def changed(network, path):
    state = {key: value + 1 for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, path)
    return path.read_bytes()


def test_a_damaged_file_is_fetched_again(cache, server, ours, theirs, capsys):
    server.files |= {"f": ours, "g": theirs}
    for entry in (own(ours, f"{server.url}/f"), official(theirs, f"{server.url}/g")):
        path = pull(entry, SILENT)
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(WeightsError, match="delete it, then run: deblur weights pull known"):
            store.verify(entry)
        assert pull(entry, Reporter()).read_bytes() == good
        assert "is fetched again" in capsys.readouterr().err


def test_a_converted_file_without_its_note_is_not_used(cache, server, theirs):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f")
    pull(entry, SILENT)
    for text in (None, "{", "[]", '{"size": 1}', '{"size": "1", "sha256": "", "published": {}, "accepted": ""}'):
        (cache / "known.json").unlink() if text is None else (cache / "known.json").write_text(text)
        with pytest.raises(WeightsError, match="no note of its checksum"):
            store.verify(entry)


# Licences and permission


def test_licences_that_are_not_free_are_accepted_once(cache, server, theirs, install, capsys):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f", licence="Academic Public License", terms="non-commercial")
    install(entry)
    assert run(["weights", "pull", "known"]) == 2
    assert "licence Academic Public License, non-commercial use only; agree with" in capsys.readouterr().err
    with pytest.raises(WeightsError, match="run: deblur weights pull known --accept-licence") as caught:
        load_chosen("known", "image", "reblur-image")
    assert caught.value.code == 6
    assert server.requests == []
    assert run(["weights", "pull", "known", "--accept-licence"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{cache / 'known.safetensors'}\n" and "non-commercial use only; accepted" in err
    (cache / "known.safetensors").unlink()
    assert run(["weights", "pull", "known"]) == 0
    (cache / "known.safetensors").unlink()
    install(dataclasses.replace(entry, licence="Another"))
    assert run(["weights", "pull", "known"]) == 2
    install(dataclasses.replace(entry, terms="unstated"))
    with pytest.raises(UsageError, match="their authors state no licence"):
        pull(dataclasses.replace(entry, terms="unstated", licence="none stated"), SILENT)


def test_free_weights_are_fetched_when_they_are_named(cache, server, theirs, install, capsys):
    server.files["f"] = theirs
    install(official(theirs, f"{server.url}/f"))
    assert load_chosen("known", "image", "reblur-image", report=Reporter()).name == "known"
    assert "fetching the weights known (1 MB, licence MIT)" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["option", "DEBLUR_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(cache, server, theirs, install, how, monkeypatch):
    entry = official(theirs, f"{server.url}/f")
    install(entry)
    if how != "option":
        monkeypatch.setenv(how, "1")
        with pytest.raises(OfflineError):
            pull(entry, SILENT)
    with pytest.raises(OfflineError, match="run: deblur weights pull known") as caught:
        load_chosen("known", "image", "reblur-image", offline=how == "option")
    assert caught.value.code == 7
    assert server.requests == []


def test_with_the_cache_filled_no_socket_is_opened(cache, server, theirs, install, monkeypatch):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f")
    install(entry)
    pull(entry, SILENT)

    def forbidden(*_):
        raise AssertionError("a connection was opened")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(f"socket.socket.{name}", forbidden)
    with pytest.raises(AssertionError):
        download._opener().open(f"{server.url}/f")
    pull(entry, SILENT)
    load_chosen("known", "image", "reblur-image")
    load_chosen("known", "image", "reblur-image", offline=True)
    assert run(["weights", "verify"]) == 0


def test_without_an_address_there_are_instructions(cache, theirs, install, capsys):
    entry = official(theirs, instructions="follow the link at https://example.org")
    install(entry)
    assert run(["weights", "list"]) == 0
    assert capsys.readouterr().out == f"known  {NETWORK}  {len(theirs) / 1e6:.1f} MB  MIT  import  -\n"
    told = "follow the link at https://example.org, then run: deblur weights import model.pth --network known"
    for attempt in (lambda: pull(entry, SILENT), lambda: load_network("known", role="reblur-image")):
        with pytest.raises(WeightsError) as caught:
            attempt()
        assert caught.value.cure == told


def test_pull_goes_on_after_a_failure(cache, server, ours, install, capsys):
    server.files["f"] = ours
    good, bad = own(ours, f"{server.url}/f"), dataclasses.replace(own(ours, f"{server.url}/g"), name="bad")
    install(good, bad)
    assert run(["weights", "pull", "bad", "known"]) == 9, "a server that fails may be well again"
    out, err = capsys.readouterr()
    assert out == f"{cache / 'known.safetensors'}\n"
    assert "404" in err and "of 2 files 1 failed" in err


# The cache


def test_a_cache_that_cannot_be_written(cache, server, theirs, install, monkeypatch):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f")
    install(entry)
    pull(entry, SILENT)

    def refuse(self, *args, **keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    assert load_chosen("known", "image", "reblur-image").name == "known"
    pull(entry, SILENT)
    other = dataclasses.replace(entry, name="other", file="other.safetensors")
    with pytest.raises(WeightsError, match="cannot be written: Permission denied; set DEBLUR_CACHE"):
        pull(other, SILENT)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_folder_where_others_could_put_weights(cache, server, theirs, monkeypatch):
    server.files["f"] = theirs
    entry = official(theirs, f"{server.url}/f")
    pull(entry, SILENT)
    cache.chmod(0o777)
    store.verify(entry)
    monkeypatch.setattr(store.os, "geteuid", lambda: os.getuid() + 1)
    for attempt in (lambda: store.verify(entry), lambda: pull(entry, SILENT)):
        with pytest.raises(WeightsError, match="someone else's"):
            attempt()
    cache.chmod(0o755)
    store.verify(entry)


def test_links_are_replaced_and_not_followed(cache, server, ours, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    cache.mkdir()
    (cache / "known.safetensors").symlink_to(victim)
    server.files["f"] = ours
    path = pull(own(ours, f"{server.url}/f"), SILENT)
    assert victim.read_text() == "precious"
    assert not path.is_symlink() and path.read_bytes() == ours


def test_what_killed_processes_left_is_cleared_away(cache, server, ours):
    old, young, folder = cache / ".x.1.part", cache / ".y.2.part", cache / ".z.3.part"
    folder.mkdir(parents=True)
    for path in (old, young, folder / "model.pth"):
        path.write_bytes(b"half")
    for path in (old, folder, folder / "model.pth"):
        os.utime(path, (time.time() - 2 * store.STALE_SECONDS,) * 2)
    server.files["f"] = ours
    pull(own(ours, f"{server.url}/f"), SILENT)
    assert files_in(cache) == [".y.2.part", "known.safetensors"]


# Several processes, and their ends


PULL = """
import sys
from pathlib import Path
from deblurcli.cli.app import run
from deblurcli.weights import registry
known = registry.read(Path(sys.argv[1]))
registry.installed = lambda: known
print("ready", flush=True)
sys.exit(run(["weights", "pull", "known"]))
"""


@pytest.fixture
def process(cache, server, ours, tmp_path):
    """Starts a process that pulls a file of ours from the stand-in of the hub."""
    server.files["owner/name/resolve/main/f"] = ours
    table = tmp_path / "weights.toml"
    table.write_text(
        f'[weights.known]\nnetwork = "{NETWORK}"\nfile = "known.safetensors"\nsize = {len(ours)}\n'
        f'sha256 = "{sha256_of(ours)}"\nlicence = "MIT"\ndata = "noise"\nscore = "-"\n'
        'sources = ["hf://owner/name@main/f"]\n'
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf")}
    running = []

    def start():
        command = [sys.executable, "-c", PULL, str(table)]
        # Ctrl-C must reach it, also where the tests run in the background of a shell, which ignores it for them.
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, before)
        running.append(child)
        return running[-1]

    yield start
    for child in running:
        child.kill()
        child.communicate()


def test_eight_processes_at_once(cache, process, ours):
    children = [process() for _ in range(8)]
    ends = [(child.communicate(timeout=120), child.returncode) for child in children]
    assert [code for _, code in ends] == [0] * 8, ends
    assert files_in(cache) == ["known.safetensors"]
    assert (cache / "known.safetensors").read_bytes() == ours


def test_eight_conversions_at_once(cache, server, theirs):
    server.files["f"] = theirs
    entry, failures = official(theirs, f"{server.url}/f"), []

    def work():
        try:
            pull(entry, SILENT)
            store.verify(entry)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert files_in(cache) == ["known.json", "known.safetensors"]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_while_a_server_is_slow(cache, process, server):
    server.faults["cdn/f"] = ["stall"]
    child = process()
    wait_for(lambda: server.asked("cdn/f"))
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, (out, err)
    assert err.splitlines()[-1] == "deblur: interrupted; run the same command again"
    assert files_in(cache) == []


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_kill_leaves_nothing_under_the_final_name(cache, process, server, ours):
    server.faults["cdn/f"] = ["stall"]
    child = process()
    wait_for(lambda: server.asked("cdn/f"))
    wait_for(lambda: any(path.stat().st_size for path in cache.rglob("*.part") if path.is_file()))
    child.kill()
    child.communicate()
    assert not (cache / "known.safetensors").exists()
    left = files_in(cache)
    assert left and all(name.startswith(".") for name in left)
    again = process()
    again.communicate(timeout=60)
    assert again.returncode == 0 and (cache / "known.safetensors").read_bytes() == ours


# What users have fetched themselves


def test_import_into_the_cache_and_to_a_file(cache, theirs, network, install, tmp_path, capsys):
    entry = official(theirs, instructions="look")
    install(entry)
    (tmp_path / "downloaded (1).pth").write_bytes(theirs)
    (tmp_path / "other.pth").write_bytes(changed(network, tmp_path / "other.pth"))
    source, other, ours = (str(tmp_path / name) for name in ("downloaded (1).pth", "other.pth", "out.safetensors"))
    assert run(["weights", "import", source, "--network", "known"]) == 0
    assert capsys.readouterr().out == f"{cache / 'known.safetensors'}\n"
    assert load_network("known", role="reblur-image").card["licence"] == "MIT"
    assert run(["weights", "import", other, "--network", "known"]) == 6
    assert "give -o FILE.safetensors" in capsys.readouterr().err
    assert run(["weights", "import", other, "--network", NETWORK]) == 6
    assert "no weights to import are called" in capsys.readouterr().err
    assert run(["weights", "import", other, "--network", NETWORK, "-o", ours]) == 0
    assert run(["weights", "import", other, "--network", "known", "-o", other]) == 2
    assert run(["weights", "import", other, "--network", "known", "-o", other, "--overwrite"]) == 2
    assert "is the input" in capsys.readouterr().err
    assert run(["weights", "import", other, "--network", NETWORK, "-o", ours]) == 2
    assert "exists; use --overwrite" in capsys.readouterr().err
    assert run(["weights", "import", other, "--network", NETWORK, "-o", ours, "--overwrite"]) == 0
    loaded = load_network(ours, role="reblur-image").module.state_dict()
    assert all(torch.equal(loaded[key], value + 1) for key, value in network.state_dict().items())
    assert run(["weights", "remove", "known"]) == 0
    assert files_in(cache) == []


def test_import_of_missing_files_and_unknown_networks(cache, tmp_path, install, theirs):
    install(official(theirs, instructions="look"))
    with pytest.raises(WeightsError, match="cannot be read"):
        import_files([tmp_path / "gone.pth"], "known", SILENT)
    with pytest.raises(WeightsError, match="no network is called 'reblurring'; did you mean 'reblurring-module'"):
        import_files([tmp_path / "gone.pth"], "reblurring", SILENT, tmp_path / "out.safetensors")


# Archives


def zipped(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # Not the time of now: processes that collect the tests at different times would not agree on their names.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def in_archive(server, member="one/model.pth", **stated):
    return dataclasses.replace(
        official(b""), published=(PublishedFile("model.pth", (f"{server.url}/all.zip",), member=member, **stated),)
    )


def test_a_file_is_taken_out_of_an_archive(cache, server, theirs, network, install, capsys):
    server.files["all.zip"] = zipped({"top/two/model.pth": b"other", "top/one/model.pth": theirs, "top/readme": b""})
    entry = in_archive(server)
    install(entry)
    pull(entry, Reporter(JsonLines()))
    assert files_in(cache) == ["known.json", "known.safetensors"]
    loaded = load_network("known", role="reblur-image")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.module.state_dict().items())
    told = capsys.readouterr().err
    assert "come over http, which others can change, and nobody states a checksum" in told
    assert "nobody states a checksum for model.pth; from now on it is" in told
    assert store.read_note(entry).published == {"model.pth": sha256_of(theirs)}


def test_an_archive_is_fetched_once_for_all_its_files(cache, server, network):
    state = network.state_dict()
    halves = [dict(list(state.items())[:3]), dict(list(state.items())[3:])]
    parts = []
    for half in halves:
        stream = io.BytesIO()
        torch.save(half, stream)
        parts.append(stream.getvalue())
    server.files["all.zip"] = zipped({"a/one.pth": parts[0], "a/two.pth": parts[1]})
    published = tuple(
        PublishedFile(f"{n}.pth", (f"{server.url}/all.zip",), member=f"a/{n}.pth") for n in ("one", "two")
    )
    with pytest.raises(WeightsError, match="DMPHN"):  # two files are no network's here
        pull(dataclasses.replace(official(b""), published=published), SILENT)
    assert len(server.asked("all.zip")) == 1 and files_in(cache) == []


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (
            zipped({"a/model.pth": b"x", "b/model.pth": b"y"}),
            r"has no file one/model\.pth; it has a/model\.pth, b/model",
        ),
        (zipped({"a/one/model.pth": b"x", "one/model.pth": b"y"}), r"has 2 files one/model\.pth"),
        (zipped({"one/model.pth": b"x" * 99})[:-30], r"all\.zip is damaged, or no zip archive"),
        (b"no archive at all", r"all\.zip is damaged, or no zip archive"),
    ],
)
def test_archives_that_do_not_have_it(cache, server, content, match):
    server.files["all.zip"] = content
    with pytest.raises(WeightsError, match=match) as told:
        pull(in_archive(server), SILENT)
    assert "deblur weights import model.pth --network known" in str(told.value)
    assert files_in(cache) == []


def test_a_stated_checksum_is_the_archive_s(cache, server, theirs, capsys):
    server.files["all.zip"] = content = zipped({"one/model.pth": theirs})
    pull(in_archive(server, size=len(content), sha256=sha256_of(content)), Reporter(JsonLines()))
    assert "come over http" not in capsys.readouterr().err
    store.remove(in_archive(server))
    with pytest.raises(WeightsError, match="sha256"):
        pull(in_archive(server, size=len(content), sha256="0" * 64), SILENT)


def test_nothing_comes_over_http_unless_it_is_asked_for(cache, server, theirs, install):
    server.files["all.zip"] = zipped({"one/model.pth": theirs})
    install(in_archive(server))
    with pytest.raises(WeightsError, match="not on this machine; run: deblur weights pull known"):
        load_chosen("known", "image", "reblur-image")
    assert server.requests == []


def test_the_archives_of_the_registry():
    for name, count in (("srn", 2), ("dbn", 2)):
        entry = registry.find(name)
        assert len(entry.downloads) == count and not entry.trusted
        assert len({file.sources for file in entry.downloads}) == 1 and all(file.member for file in entry.downloads)
    assert registry.find("vgg19-critic").trusted

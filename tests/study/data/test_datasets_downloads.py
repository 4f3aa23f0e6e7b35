"""Downloads from a server on this machine: whole, damaged, cut off, interrupted, out of reach."""

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from lazyrich import InputError, MissingExtraError
from lazyrich.study.data import cifar, datasets, downloads
from tests.cli.run import run
from tests.study.data.test_datasets import archive, grey, put, records

WHOLE, OTHER, SHORT, GONE = "whole", "other bytes", "cut off", "gone"


class Server(ThreadingHTTPServer):
    """Serves `files`; `behaviour` says how, by the start of the path; `asked` remembers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.behaviour, self.asked = {}, {}, []

    def address(self, folder="a"):
        return f"http://127.0.0.1:{self.server_port}/{folder}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        _, folder, name = self.path.split("/")
        self.server.asked.append(f"{folder}/{name}")
        how = self.server.behaviour.get(f"{folder}/{name}", WHOLE)
        content = self.server.files[name]
        if how == GONE:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if how == OTHER:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.wfile.write(content[: len(content) // 2] if how == SHORT else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "DEBIAN", tmp_path / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(downloads.VARIABLE, raising=False)
    return tmp_path / "cache" / "lazyrich"


@pytest.fixture
def mnist(server, cache, tmp_path, monkeypatch):
    """A small MNIST on the server, of which `load` knows address and checksums."""
    put(tmp_path / "origin", grey(20, 0), grey(10, 1), zipped=True)
    files = {path.name: path.read_bytes() for path in sorted((tmp_path / "origin").iterdir())}
    server.files = files
    sums = {name: f"sha256:{hashlib.sha256(files[name]).hexdigest()}" for name in files}
    source = replace(datasets.MNIST, checksums=sums, addresses=(server.address(),))
    monkeypatch.setattr(datasets, "MNIST", source)
    return source


def left(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_set_is_downloaded_once_and_shows_progress(mnist, server, cache, capsys):
    found = datasets.load("mnist", download=True)
    assert len(found.train) == 20
    assert left(cache / "mnist") == sorted(mnist.checksums)
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().err
    again = [datasets.load("mnist", download=True), datasets.load("mnist")]
    assert all(len(one.train) == 20 for one in again)
    assert len(server.asked) == 4  # the later ones came from the cache


def test_nothing_is_downloaded_unless_asked(mnist, server, cache):
    with pytest.raises(InputError, match="mnist needs the file train-images"):
        datasets.load("mnist")
    assert server.asked == []
    assert not cache.exists()


def test_files_at_hand_are_not_downloaded(mnist, server, tmp_path):
    assert len(datasets.load("mnist", folder=tmp_path / "origin", download=True).train) == 20
    assert server.asked == []


def test_a_sweep_downloads_what_its_points_name_when_asked(mnist, server, cache, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "two"\nbase = {steps = 1, samples = 10, measurements = 1}\nseeds = 2\n'
        'axes.data = ["digits", "mnist"]\n'
    )
    command = ("sweep", study, "--out", tmp_path / "out", "--workers", 1)
    done = run(*command)
    assert "Stored: 2 finished, 2 failed." in done.stdout, done.output
    assert "download=True, or --download of diagnose and sweep." in done.stdout
    assert server.asked == []
    done = run(*command, "--download", "--retry-failed")
    assert done.exit_code == 0, done.output
    assert "2 of 4 points ran" in done.stdout
    assert "Stored: 4 finished." in done.stdout
    assert sorted(server.asked) == sorted(f"a/{name}" for name in mnist.checksums)  # each once
    assert left(cache / "mnist") == sorted(mnist.checksums)
    server.files = {}
    assert run(*command, "--download").exit_code == 0


def test_a_sweep_whose_data_cannot_be_downloaded_makes_nothing(mnist, server, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text('name = "one"\nbase.data = "mnist"\n')
    server.behaviour = dict.fromkeys((f"a/{name}" for name in mnist.checksums), GONE)
    done = run("sweep", study, "--out", tmp_path / "out", "--download")
    assert done.exit_code == 2
    assert "could not be downloaded" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (OTHER, "what came is damaged, its checksum is wrong"),
        (SHORT, "the connection failed or broke off"),
        (GONE, "the connection failed or broke off .*404"),
    ],
)
def test_a_file_that_does_not_come_whole_is_named_and_not_kept(mnist, server, cache, how, reason):
    file = sorted(mnist.checksums)[-1]
    server.behaviour[f"a/{file}"] = how
    message = rf"mnist: {file} could not be downloaded. {server.address()}: {reason}"
    with pytest.raises(InputError, match=rf"{message}.* Try again later, or .*--data-dir"):
        datasets.load("mnist", download=True)
    assert file not in left(cache / "mnist")
    assert not [name for name in left(cache / "mnist") if name not in mnist.checksums]


def test_an_interrupted_download_goes_on_where_it_stopped(mnist, server, cache):
    third = list(mnist.checksums)[2]
    server.behaviour[f"a/{third}"] = SHORT
    with pytest.raises(InputError, match=third):
        datasets.load("mnist", download=True)
    with pytest.raises(InputError, match=rf"mnist needs the file {third[:-3]} .*{cache}"):
        datasets.load("mnist")  # without a download, what the cache lacks is named
    done, server.behaviour, server.asked = left(cache / "mnist"), {}, []
    assert len(done) == 2
    assert len(datasets.load("mnist", download=True).train) == 20
    assert sorted(name.removeprefix("a/") for name in server.asked) == sorted(
        set(mnist.checksums) - set(done)
    )


def test_a_file_that_went_bad_in_the_cache_is_fetched_anew(mnist, server, cache):
    datasets.load("mnist", download=True)
    path = cache / "mnist" / f"{datasets.LABELS}.gz"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=f"{path} is not a whole gzip file"):
        datasets.load("mnist")
    assert len(datasets.load("mnist", download=True).train) == 20
    assert len(server.asked) == 5


def test_the_next_address_helps_out(mnist, server, monkeypatch):
    two = replace(mnist, addresses=(server.address("a"), server.address("b")))
    monkeypatch.setattr(datasets, "MNIST", two)
    server.behaviour = dict.fromkeys((f"a/{name}" for name in mnist.checksums), OTHER)
    assert len(datasets.load("mnist", download=True).train) == 20
    server.behaviour[f"b/{datasets.IMAGES}.gz"] = GONE
    with pytest.raises(InputError, match=r"/a/: what came is damaged.*/b/: the connection"):
        downloads.fetch(replace(two, name="elsewhere"))


def test_a_server_out_of_reach(mnist, monkeypatch):
    lost = replace(mnist, addresses=("http://127.0.0.1:1/",))
    monkeypatch.setattr(datasets, "MNIST", lost)
    with pytest.raises(InputError, match=r"127.0.0.1:1/: the connection failed"):
        datasets.load("mnist", download=True)


def test_a_cache_that_cannot_be_written(mnist, cache):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot be written into .*Make room there, or put"):
        datasets.load("mnist", download=True)


def test_the_archive_of_cifar(server, cache, tmp_path, monkeypatch):
    archive(tmp_path / cifar.ARCHIVE, [records(2, seed) for seed in range(6)])
    content = (tmp_path / cifar.ARCHIVE).read_bytes()
    server.files = {cifar.ARCHIVE: content}
    sums = {cifar.ARCHIVE: f"sha256:{hashlib.sha256(content).hexdigest()}"}
    source = replace(datasets.CIFAR10, checksums=sums, addresses=(server.address(),))
    monkeypatch.setattr(datasets, "CIFAR10", source)
    found = datasets.load("cifar10", download=True)
    assert (len(found.train), len(found.test)) == (10, 2)
    assert np.array_equal(found.test.y, records(2, 5)[:, 0])
    assert len(datasets.load("cifar10").train) == 10


def test_without_pooch_files_are_found_and_downloads_name_the_extra(mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    assert len(datasets.load("mnist", folder=tmp_path / "origin").train) == 20
    with pytest.raises(InputError, match="mnist needs the file"):
        datasets.load("mnist")
    with pytest.raises(MissingExtraError, match=r"needs pooch.*lazyrich\[data\]"):
        datasets.load("mnist", download=True)


def test_every_address_is_a_folder_and_every_checksum_has_its_kind():
    for source in (datasets.MNIST, datasets.FASHION_MNIST, datasets.CIFAR10):
        assert all(address.endswith("/") for address in source.addresses)
        for checksum in source.checksums.values():
            kind, digits = checksum.split(":")
            assert (kind, len(bytes.fromhex(digits))) == ("sha256", 32)
        assert Path(source.name).name == source.name

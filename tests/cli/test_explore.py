"""`lazyrich explore`: the page opened, or written."""

import re
import webbrowser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
import xarray as xr

from lazyrich import Probe
from lazyrich._json_arrays import from_json, to_json
from lazyrich.explore.page import PAGE
from lazyrich.probe import load_history

from .run import answer, refusal, run


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was asked for."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not addresses.append(address))
    return addresses


def test_it_opens_the_page(opened):
    done = run("explore")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "lazyrich: opened the page in the browser\n"
    assert opened == [PAGE.as_uri()]


def test_it_writes_the_page_and_opens_nothing(opened, tmp_path):
    copy = tmp_path / "explore.html"
    assert run("explore", "--out", copy).stderr == f"lazyrich: wrote {copy}\n"
    assert copy.read_bytes() == PAGE.read_bytes()
    assert opened == []


def test_a_run_is_on_the_map_of_the_page(opened, tmp_path):
    probe = Probe(torch.nn.Linear(2, 1), (torch.ones(3, 2), torch.ones(3, 1)))
    probe.measure(step=0)
    history = probe.history.assign_attrs(note="</script><!-- none -->")
    (tmp_path / "run.json").write_text(to_json(history), "utf-8")
    copy = tmp_path / "explore.html"
    run("explore", tmp_path / "run.json", "--out", copy)
    found = re.search(
        r'<script type="application/json" id="history">(.*?)</script>', copy.read_text("utf-8")
    )
    xr.testing.assert_identical(from_json(found[1]), load_history(tmp_path / "run.json"))
    assert opened == []
    run("explore", tmp_path / "run.json")
    (address,) = opened
    assert Path(unquote(urlsplit(address).path)).read_text("utf-8") == copy.read_text("utf-8")


def test_what_is_no_history_is_refused(opened, tmp_path):
    assert "there is no history" in refusal("explore", tmp_path / "none.json")
    assert opened == []


def test_json(opened, tmp_path):
    assert answer("explore") == {"page": str(PAGE), "opened": True}
    copy = tmp_path / "a.htm"
    assert answer("explore", "--out", copy) == {"page": str(copy), "opened": False}


def test_without_a_browser_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert refusal("explore").endswith(
        "none was found. Write the page with `lazyrich explore --out explore.html`, and open it "
        "where there is one."
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("page.png", "must end in .html, .htm, got 'page.png'"),
        ("none/page.html", "none' does not exist. Make it"),
        (".", "is a folder"),
    ],
)
def test_refusals(opened, tmp_path, path, reason):
    assert reason in refusal("explore", "--out", tmp_path / path)
    assert opened == []


def test_the_page_is_one_file_without_a_network():
    text = PAGE.read_text(encoding="utf-8")
    assert PAGE.stat().st_size < 1.5e6
    assert text.startswith("<!doctype html>")
    assert "src=" not in text.partition("<script>")[0]
    links = re.findall("<link[^>]*>", text.partition("<script>")[0])
    assert links == ['<link rel="icon" href="data:," />']  # no icon is asked for

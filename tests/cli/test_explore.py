"""`lazyrich explore`: the page opened, or written."""

import webbrowser

import pytest

from lazyrich.explore.page import PAGE

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
        ("none/page.html", "none' does not exist. Make it first"),
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
    assert "<link" not in text.partition("<script>")[0]

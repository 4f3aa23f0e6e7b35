"""The page of two runs side by side."""

from html import unescape

import pytest

import lazyrich
from lazyrich import InputError
from lazyrich.report.pair import write_comparison

from .test_browser import CHROMIUM, looked_at
from .test_write import Checked


@pytest.fixture(scope="module")
def compared(probe):
    history = probe.history
    other = history.drop_vars("cka").isel(layer=[1]).assign_coords(layer=["<b>&"])
    return lazyrich.compare(history, other, names=("a.nc", "<i>b"))


@pytest.fixture(scope="module")
def written(compared, tmp_path_factory):
    path = tmp_path_factory.mktemp("pair") / "pair.html"
    return write_comparison(compared, path).read_text("utf-8")


def test_the_page_is_whole_and_loads_nothing(written):
    checked = Checked()
    checked.feed(written)
    assert not checked.open
    assert all(source.startswith("data:") for source in checked.loaded)
    assert "<script" not in written
    assert "<i>" not in written.replace("<i style", "")
    assert "<b>&" not in written


def test_it_says_what_the_comparison_says(written, compared):
    text = unescape(written)
    assert compared.sentence in text
    assert all(note in text for note in compared.notes)
    assert "Only <i>b has the layer <b>&." in text
    assert "Only a.nc has the number cka." in text
    for layer in compared.layers:
        assert f"<code>{layer}</code>" in text
    assert text.count("only in one") >= len(compared.layers)


def test_other_paths_are_refused(compared, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.html, \.htm, got 'pair\.png'"):
        write_comparison(compared, tmp_path / "pair.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_the_page_on_a_phone(probe, tmp_path):
    page = write_comparison(lazyrich.compare(probe, probe), tmp_path / "pair.html")
    found = looked_at(page)
    assert found["width"] == found["needed"]
    assert found["images"] == found["drawn"] == 4
    assert found["requests"] == []
    assert found["tables"]

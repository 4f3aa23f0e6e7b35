"""The gallery: every kind of figure, in a few lines that draw the picture beside them."""

import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra 'plot'")

from docs.pictures import GALLERY, pages, sources

from lazyrich import plot

TEXT = GALLERY.read_text("utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
MACHINERY = {"figure", "legend", "save", "style"}
LINES = 10
TRAINS = "The loss of a run"  # its section trains the network of five


def code(section):
    return "".join(sources(section))


@pytest.mark.parametrize("name", sorted(set(plot.__all__) - MACHINERY))
def test_every_kind_of_figure_has_its_place(name):
    assert any(f"plot.{name}(" in code(section) for section in SECTIONS.values())


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_has_ten_lines_and_the_picture_that_they_draw(title):
    section = SECTIONS[title]
    lines = [line for line in code(section).splitlines() if line.strip()]
    assert len(lines) <= (2 * LINES if title == TRAINS else LINES)
    assert lines[-1].startswith("figure = ")
    (picture,) = re.findall(r"^!\[[^\]]+\]\(([^)]+)\)$", section, re.MULTILINE)
    assert (GALLERY.parent / picture).is_file()


def test_every_drawn_picture_is_there_and_shown_once():
    shown = [
        (page.parent / picture).resolve()
        for page in pages()
        for picture in re.findall(
            r"^!\[[^\]]*\]\(([^)]*)\)$", page.read_text("utf-8"), re.MULTILINE
        )
    ]
    assert all(picture.is_file() for picture in shown)
    drawn = Path(GALLERY).parent / "img"
    kept = {*drawn.glob("gallery-*.png"), *drawn.glob("lecture-*.png")}
    assert {picture.resolve() for picture in kept} <= set(shown)

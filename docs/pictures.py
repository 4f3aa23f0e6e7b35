"""Draws the pictures of pages by the code that stands on them.

    python docs/pictures.py           # all of them, and docs/img/home.png
    python docs/pictures.py gallery   # those of one page

A picture of a page shows what `figure` is where it stands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from doctest import DocTestParser
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lazyrich.plot import figure, phase_diagram, save, style, trajectory

DOCS = Path(__file__).parent
GALLERY = DOCS / "gallery.md"
_FENCE = re.compile(r"^```python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"^!\[[^\]]*\]\(([^)]*)\)$", re.MULTILINE)


def pages() -> list[Path]:
    """The pages that draw their pictures."""
    folders = ("tutorial", "concepts", "notebooks")
    return [*(page for name in folders for page in sorted((DOCS / name).glob("*.md"))), GALLERY]


def pictures(page: Path) -> Iterator[tuple[Path, Figure]]:
    """The files of a page's own pictures, and the figures that belong into them."""
    names: dict[str, Any] = {}
    end = 0
    text = page.read_text("utf-8")
    for picture in _PICTURE.finditer(text):
        with style():
            run(text[end : picture.start()], page.name, names)
        end = picture.end()
        if "figure" in names:
            yield (page.parent / picture[1]).resolve(), names.pop("figure")


def sources(text: str) -> Iterator[str]:
    r"""The Python of a page, fence by fence, without prompts and outputs.

    Example:
        >>> list(sources("```python\n>>> 1 + 1\n2\n```\n"))
        ['1 + 1\n']
    """
    for fence in _FENCE.findall(text):
        examples = DocTestParser().get_examples(fence)
        yield "".join(one.source for one in examples) if examples else fence


def run(text: str, name: str, names: dict[str, Any]) -> None:
    """Run the Python of a part of a page, in the namespace of the page."""
    for source in sources(text):
        exec(compile(source, name, "exec"), names)


def namespace(page: Path) -> dict[str, Any]:
    """What the names of a page stand for at its end."""
    names: dict[str, Any] = {}
    run(page.read_text("utf-8"), page.name, names)
    return names


def home() -> Figure:
    """The two networks of the tutorial on the phase diagram, and what became of them."""
    solved, placed = (
        namespace(DOCS / "tutorial" / f"{step}.md") for step in ("1-solve", "2-place")
    )
    with style():
        made = figure(1, 2, width=4.4)
        phases, over_time = made.axes
        phase_diagram(placed["diagram"], ax=phases)
        for scale, name in ((0.1, "rich"), (10.0, "lazy")):
            phases.plot(scale, 1e-3, "o", color="black")
            phases.annotate(name, (scale, 1e-3), xytext=(7, 5), textcoords="offset points")
        trajectory(solved["paths"], "alignment", ax=over_time)
    return made


if __name__ == "__main__":
    chosen = sys.argv[1:]
    for page in pages():
        if not chosen or page.stem in chosen:
            for target, made in pictures(page):
                print(save(made, target))
    if not chosen:
        save(home(), DOCS / "img" / "home.png")

"""Draws the pictures of pages by the code that stands on them.

    python docs/pictures.py    # writes docs/img/tutorial-1-solve.png and so on, and home.png

A page of the tutorial or of the concepts makes its picture as `figure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from doctest import DocTestParser
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lazyrich.plot import figure, phase_diagram, save, style, trajectory

DOCS = Path(__file__).parent
_FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def pages() -> dict[Path, Path]:
    """Each page that draws its picture, and the file of the picture."""
    kinds = {"tutorial": "tutorial", "concepts": "concept"}
    found = {folder: sorted((DOCS / folder).glob("*.md")) for folder in kinds}
    drawn = {
        page: DOCS / "img" / f"{kinds[folder]}-{page.stem}.png"
        for folder, pages in found.items()
        for page in pages
    }
    return {page: picture for page, picture in drawn.items() if picture.name in page.read_text()}


def sources(text: str) -> Iterator[str]:
    r"""The Python of a page, fence by fence, without prompts and outputs.

    Example:
        >>> list(sources("```python\n>>> 1 + 1\n2\n```\n"))
        ['1 + 1\n']
    """
    for fence in _FENCE.findall(text):
        examples = DocTestParser().get_examples(fence)
        yield "".join(one.source for one in examples) if examples else fence


def namespace(page: Path) -> dict[str, Any]:
    """What the names of a page stand for at its end."""
    names: dict[str, Any] = {}
    for source in sources(page.read_text("utf-8")):
        exec(compile(source, page.name, "exec"), names)
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
    for page, picture in pages().items():
        save(namespace(page)["figure"], picture)
    save(home(), DOCS / "img" / "home.png")

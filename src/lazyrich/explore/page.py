"""The page as a file: where it lies, and copies of it, also with a network in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._files import check_target, write_whole
from lazyrich._json_arrays import to_json

if TYPE_CHECKING:
    import xarray as xr

PAGE = Path(__file__).with_name("page.html")
"""The page itself. It is one file, loads nothing and sends nothing; `scripts/page` makes it."""

SUFFIXES = (".html", ".htm")
MARK = "<!-- history -->"  # where page/index.html has room for one


def page_text(history: xr.Dataset | None = None) -> str:
    """The page as HTML.

    Args:
        history: the history of a probe, whose network the page opens with, in its place on the
            map; None for the page as it is.
    """
    text = PAGE.read_text(encoding="utf-8")
    if history is None:
        return text
    data = to_json(history).replace("<", "\\u003c")  # nothing in it can end the element
    return text.replace(MARK, f'<script type="application/json" id="history">{data}</script>')


def write_page(path: str | Path, history: xr.Dataset | None = None) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: path of the copy, ends in `.html` or `.htm`; a file that is there is replaced.
        history: the history to begin with, see `page_text`.

    Returns:
        The path.

    Raises:
        InputError: another suffix, a folder that does not exist, or a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_page(f"{folder}/explore.html").read_text("utf-8") == page_text()
        True
    """
    target = check_target(check_target(path), SUFFIXES)  # a folder is one, whatever its name
    return write_whole(target, lambda made: made.write_text(page_text(history), encoding="utf-8"))

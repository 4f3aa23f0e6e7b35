"""The page as a file: where it lies, and a copy of it."""

from __future__ import annotations

from pathlib import Path

from lazyrich._files import check_target, write_whole

PAGE = Path(__file__).with_name("page.html")
"""The page itself. It is one file, loads nothing and sends nothing; `scripts/page` makes it."""

SUFFIXES = (".html", ".htm")


def write_page(path: str | Path) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: of the copy, ends in `.html` or `.htm`; a file that is there is replaced.

    Returns:
        The path.

    Raises:
        InputError: another suffix, a folder that does not exist, or a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_page(f"{folder}/explore.html").read_bytes() == PAGE.read_bytes()
        True
    """
    target = check_target(check_target(path), SUFFIXES)  # a folder is one, whatever its name
    return write_whole(target, lambda made: made.write_bytes(PAGE.read_bytes()))

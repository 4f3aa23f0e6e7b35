"""Which papers and figures there are, what each is expected to find, and where its record lies."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import lazyrich as lr

HOME = Path(__file__).resolve().parent


def papers() -> list[str]:
    """The papers that are there."""
    return sorted(part.parent.name for part in HOME.glob("*/expected.json"))


def figures(paper: str) -> list[str]:
    """The scripts of a paper, in order."""
    if paper not in papers():
        raise lr.InputError(f"the papers are {', '.join(papers())}, got {paper!r}.")
    return sorted(part.stem for part in (HOME / paper).glob("fig*.py"))


def expected(paper: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What each figure should find: figure → finding → claim, range, reason."""
    return json.loads((HOME / paper / "expected.json").read_text())


def script(paper: str, figure: str) -> Any:  # noqa: ANN401 - a module
    """The module of a figure."""
    return importlib.import_module(f"{HOME.name}.{paper}.{figure}")


def subject(docstring: str | None) -> str:
    """The first paragraph of a script: what its figure shows, whatever is found."""
    return " ".join((docstring or "").strip().partition("\n\n")[0].split())


def place_of_record(place: Path, scale: str, figure: str) -> Path:
    """Where the record of a figure is, in the folder of its paper."""
    return place / "records" / scale / f"{figure}.json"

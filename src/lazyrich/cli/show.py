"""What commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import typer

LEAST_WIDTH = 120  # of a table in a pipe or a narrow terminal


def print_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object; infinities and NaN become null."""
    typer.echo(json.dumps(_plain(result), allow_nan=False))


def print_table(columns: Mapping[str, Sequence[Any]]) -> None:
    """Print equal-length columns as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if hasattr(value, "tolist"):  # arrays of any library
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

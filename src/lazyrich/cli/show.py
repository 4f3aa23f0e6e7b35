"""What commands print: JSON for programs, tables for people, warnings of a store."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from lazyrich._errors import StoreWarning


def print_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object; infinities and NaN become null."""
    typer.echo(json.dumps(_plain(result), allow_nan=False))


def print_table(columns: Mapping[str, Sequence[Any]]) -> None:
    """Print equal-length columns as a table; its lines are as long as they need to be."""
    from rich.cells import cell_len

    texts = [[name, *map(_cell, column)] for name, column in columns.items()]
    widths = [max(map(cell_len, text)) for text in texts]
    for number, row in enumerate(zip(*texts, strict=True)):
        padded = (
            text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)
        )
        typer.secho("  ".join(padded).rstrip(), bold=number == 0)


@contextmanager
def said_warnings() -> Iterator[None]:
    """Say what is to be known of a store on stderr, in the words of the command."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", StoreWarning)
        yield
    for warning in heard:
        if issubclass(warning.category, StoreWarning):
            typer.echo(f"lazyrich: {warning.message}", err=True)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def _cell(value: Any) -> str:  # noqa: ANN401
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def say(words: str) -> None:
    """Tell on stderr what is going on, where it takes long or what is printed cannot show it."""
    typer.echo(f"lazyrich: {words}", err=True)


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

"""Data from CSV files with named columns."""

from __future__ import annotations

import csv as csv_format
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._errors import InputError
from lazyrich.study.data.samples import DataSet, Samples

Task = Literal["regression", "classes"]


def csv(
    path: str | Path,
    *,
    y: str | Sequence[str],
    x: str | Sequence[str] | None = None,
    task: Task = "regression",
    test: float = 0.2,
    seed: int = 0,
) -> DataSet:
    r"""Columns of a CSV file with a header.

    Inputs, and the targets of a regression, have mean 0 and variance 1 over the training part; a
    column that does not vary is 0.

    Args:
        path: of the file, in UTF-8.
        y: the column to learn; for a regression also several.
        x: the columns to learn from; None takes all others.
        task: `"regression"` to numbers, or `"classes"`: the distinct entries of the column `y`,
            counted from 0 in the order of numbers, or of the alphabet where there are words.
        test: the share of rows for the test part, between 0 and 1.
        seed: of the random choice of these rows.

    Raises:
        InputError: the file is missing or no CSV file, a column is missing, an entry is no number,
            or there are too few rows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "heights.csv")
        ...     _ = file.write_text("age,height\n" + "\n".join(f"{a},{50 + a}" for a in range(10)))
        ...     data = csv(file, x="age", y="height")
        >>> len(data.train), len(data.test), data.inputs, data.outputs
        (8, 2, (1,), 1)
    """
    path = Path(path)
    columns = _columns(path)
    targets = _names(path, columns, y)
    inputs = _names(path, columns, [c for c in columns if c not in targets] if x is None else x)
    if shared := set(inputs) & set(targets):
        raise InputError(f"`x` and `y` must name different columns, both name {min(shared)!r}.")
    if task == "classes" and len(targets) != 1:
        raise InputError(f"`y` must be one column for classes, got {targets}. Choose one of them.")
    rows = len(columns[targets[0]])
    held = round(test * rows) if 0 < test < 1 else 0
    if not 1 <= held <= rows - 1:
        raise InputError(
            f"`test` must leave samples in both parts of the {rows} rows of {path}, got {test}. "
            "Choose another share between 0 and 1."
        )
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    train = order[: rows - held]
    values = _standardised(_numbers(path, columns, inputs), train)
    if task == "classes":
        classes, labels = _labels(path, targets[0], columns[targets[0]])
        every = Samples(x=values, y=labels)
    else:
        classes = 0
        every = Samples(x=values, y=_standardised(_numbers(path, columns, targets), train))
    return DataSet(
        name=path.stem, train=every.at(train), test=every.at(order[rows - held :]), classes=classes
    )


def _columns(path: Path) -> dict[str, list[str]]:
    """All entries as text, by column."""
    if not path.is_file():
        raise InputError(f"`path` must be a CSV file, {path} is none. Correct the path.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv_format.reader(file, strict=True) if row] or [[]]
    except (UnicodeDecodeError, csv_format.Error) as error:
        raise InputError(
            f"{path} must be a CSV file in UTF-8, got one that is not: {error}. Save it again."
        ) from error
    if len(set(header)) != len(header):
        raise InputError(f"{path} must have columns of different names, got {header}. Rename them.")
    if not rows:
        raise InputError(f"{path} must have a header and rows, got none. Save it again.")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise InputError(
                f"{path} must have {len(header)} entries in each row, got {len(row)} in row "
                f"{number}. It may be cut off: copy it again."
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _names(path: Path, columns: dict[str, list[str]], asked: str | Sequence[str]) -> list[str]:
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in columns:
            have = ", ".join(columns)
            raise InputError(f"{path} has no column {name!r}, it has {have}. Choose among them.")
    if not names:
        raise InputError(f"`x` and `y` must name columns of {path}, got none. Name at least one.")
    return names


def _numbers(
    path: Path, columns: dict[str, list[str]], names: list[str]
) -> Float[Tensor, "rows columns"]:
    table = []
    for name in names:
        values = [_number(entry) for entry in columns[name]]
        for row, value in enumerate(values):
            if not isfinite(value):
                raise InputError(
                    f"{path}, row {row + 2}: column {name!r} must hold finite numbers, got "
                    f"{columns[name][row]!r}. Correct it or leave the column out; words as `y` are "
                    'for task="classes".'
                )
        table.append(values)
    return torch.tensor(table, dtype=torch.float64).T


def _number(entry: str) -> float:
    try:
        return float(entry)
    except ValueError:
        return nan


def _labels(path: Path, name: str, entries: list[str]) -> tuple[int, Tensor]:
    if "" in entries:
        raise InputError(
            f"{path}, row {entries.index('') + 2}: column {name!r} must name a class, got nothing. "
            "Fill it in or leave the row out."
        )
    distinct = sorted(set(entries))
    if all(isfinite(_number(entry)) for entry in distinct):
        distinct.sort(key=_number)
    place = {entry: label for label, entry in enumerate(distinct)}
    return len(distinct), torch.tensor([place[entry] for entry in entries])


def _standardised(
    values: Float[Tensor, "rows columns"], train: Tensor
) -> Float[Tensor, "rows columns"]:
    fitted = values[train]
    std = fitted.std(0, correction=0)
    std[std <= 1e-12 * fitted.abs().amax(0)] = torch.inf
    return ((values - fitted.mean(0)) / std).float()

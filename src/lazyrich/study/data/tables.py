"""Data from CSV files with named columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._errors import InputError
from lazyrich._tables import Table, number_or_nan, read_table
from lazyrich.study.data.samples import DataSet, Samples

Task = Literal["regression", "classes"]
ADVICE = 'Correct it or leave the column out; words as `y` are for task="classes".'


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
        path: path of the file, in UTF-8.
        y: the column to learn; for a regression also several.
        x: the columns to learn from; None takes all others.
        task: `"regression"` to numbers, or `"classes"`: the distinct entries of the column `y`,
            counted from 0 in the order of numbers, or of the alphabet where there are words.
        test: the share of rows for the test part, between 0 and 1.
        seed: seed of the random choice of these rows.

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
    table = read_table(path)
    targets = _names(table, y)
    inputs = _names(table, [c for c in table.columns if c not in targets] if x is None else x)
    if shared := set(inputs) & set(targets):
        raise InputError(
            f"`x` and `y` must name different columns, both name {min(shared)!r}. Take it out of "
            "one."
        )
    if task == "classes" and len(targets) != 1:
        raise InputError(
            f"`y` must be one column for classes, got {targets}. Name one, or take "
            "task='regression' for several."
        )
    rows = len(table.lines)
    held = round(test * rows) if 0 < test < 1 else 0
    if not 1 <= held <= rows - 1:
        raise InputError(
            f"`test` must leave samples in both parts of the {rows} rows of {table.path}, got "
            f"{test}. Choose another share between 0 and 1."
        )
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    train = order[: rows - held]
    values = _standardised(torch.from_numpy(table.numbers(inputs, advice=ADVICE)), train)
    if task == "classes":
        classes, labels = _labels(table, targets[0])
        every = Samples(x=values, y=labels)
    else:
        classes = 0
        numbers = torch.from_numpy(table.numbers(targets, advice=ADVICE))
        every = Samples(x=values, y=_standardised(numbers, train))
    test_part = every.at(order[rows - held :])
    return DataSet(name=table.path.stem, train=every.at(train), test=test_part, classes=classes)


def _names(table: Table, chosen: str | Sequence[str]) -> list[str]:
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    for name in names:
        table.text(name)  # refuses a column that is not there
    if not names:
        raise InputError(
            f"`x` and `y` must name columns of {table.path}, got none. Name at least one."
        )
    return names


def _labels(table: Table, name: str) -> tuple[int, Tensor]:
    entries = list(table.text(name))
    if "" in entries:
        raise InputError(
            f"{table.path}, line {table.lines[entries.index('')]}: column {name!r} must name a "
            "class, got nothing. Fill it in or leave the row out."
        )
    distinct = sorted(set(entries))
    if all(isfinite(number_or_nan(entry)) for entry in distinct):
        distinct.sort(key=number_or_nan)
    place = {entry: label for label, entry in enumerate(distinct)}
    return len(distinct), torch.tensor([place[entry] for entry in entries])


def _standardised(
    values: Float[Tensor, "rows columns"], train: Tensor
) -> Float[Tensor, "rows columns"]:
    fitted = values[train]
    std = fitted.std(0, correction=0)
    std[std <= 1e-12 * fitted.abs().amax(0)] = torch.inf
    return ((values - fitted.mean(0)) / std).float()

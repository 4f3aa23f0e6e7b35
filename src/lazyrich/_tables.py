"""CSV files with a header: columns by their names, as numbers or as text."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazyrich._errors import InputError

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_WRITTEN = {";": "semicolons", "\t": "tabs", "|": "bars"}  # that other tables have for commas


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a file; all have an entry in each row, and there is at least one row.

    Attributes:
        path: path of the file.
        columns: entries as text, by column, in the order of the file.
        lines: lines of the file on which the rows end; the first is 1.
    """

    path: Path
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def text(self, name: str) -> Sequence[str]:
        """The entries of a column.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.columns:
            have = ", ".join(self.columns)
            raise InputError(
                f"{self.path} has no column {name!r}, it has {have}. Spell it as the header does."
            )
        return self.columns[name]

    def numbers(
        self, names: Sequence[str], *, advice: str = "Correct it or leave the row out."
    ) -> NDArray[np.float64]:
        """Columns of finite numbers.

        Args:
            names: names of the columns.
            advice: what to do about an entry that is no number; a sentence.

        Returns:
            (rows, columns).

        Raises:
            InputError: there is no such column, or it has an entry that is no finite number.
        """
        return np.array([self._column(name, advice) for name in names]).T

    def _column(self, name: str, advice: str) -> list[float]:
        values = []
        for line, entry in zip(self.lines, self.text(name), strict=True):
            value = number_or_nan(entry)
            if not isfinite(value):
                comma = " Write a point for a decimal comma." if "," in entry else ""
                raise InputError(
                    f"{self.path}, line {line}: column {name!r} must hold finite numbers, got "
                    f"{entry!r}. {advice}{comma}"
                )
            values.append(value)
        return values


def number_or_nan(entry: str) -> float:
    """An entry as a number; NaN if it is none.

    Python reads more as a number than a table means by one, as `1_0` for 10.

    Args:
        entry: entry of a table: decimal digits with a point and a power of ten, or without.

    Example:
        >>> number_or_nan("1e3"), number_or_nan("many"), number_or_nan("1_0")
        (1000.0, nan, nan)
    """
    return float(entry) if _NUMBER.fullmatch(entry) else float("nan")


def read_table(path: str | Path) -> Table:
    r"""Read a CSV file with a header, in UTF-8, with or without a mark of the byte order.

    Spaces around the names of columns do not belong to them.

    Args:
        path: path of the file.

    Returns:
        The table.

    Raises:
        InputError: there is no such file, it is no CSV file in UTF-8, it has no rows, two columns
            of one name, a row with more or fewer entries than the header, or something
            else than commas between the entries.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "heights.csv"
        ...     _ = path.write_text("age,height\n3,95\n7,121.5\n")
        ...     read_table(path).numbers(["height"])
        array([[ 95. ],
               [121.5]])
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"{path} must be a CSV file, and there is no file of that name. Look for a slip in "
            "the path."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} must be a CSV file in UTF-8, got one that is not: {error}. Export "
            "the table anew as CSV with the encoding UTF-8."
        ) from error
    if len(rows) < 2:
        raise InputError(
            f"{path} must have a header and rows, got none. Export the table anew, with the "
            "names of its columns in the first line."
        )
    (_, written), *rest = rows
    header = [name.strip() for name in written]
    _check_separator(path, header, [row for _, row in rest])
    if len(set(header)) != len(header):
        raise InputError(
            f"{path} must have columns of different names, got {header}. Give each column its own "
            "name in the first line."
        )
    _check_rows(path, len(header), rest)
    columns = zip(*(row for _, row in rest), strict=True)
    return Table(
        path=path,
        columns=dict(zip(header, columns, strict=True)),
        lines=[line for line, _ in rest],
    )


def _check_rows(path: Path, columns: int, rows: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Refuse a row, by its line, with more or fewer entries than there are columns."""
    for line, row in rows:
        if len(row) != columns:
            advice = (
                "It may be cut off: copy it again"
                if len(row) < columns
                else "Quote entries that hold commas, or write a point for a decimal comma"
            )
            raise InputError(
                f"{path} must have {columns} entries in each row, got {len(row)} in line "
                f"{line}. {advice}."
            )


def _check_separator(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Refuse a table that has something else between its columns than commas."""
    for mark, name in _WRITTEN.items():
        if len(header) == 1 and mark in header[0] and any(mark in e for row in rows for e in row):
            raise InputError(
                f"{path} must have commas between its columns, got {name}: {header[0]!r}. Save it "
                "with commas between columns and points in numbers."
            )

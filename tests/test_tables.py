"""CSV files with a header, against what Python's own writer wrote."""

import csv

import numpy as np
import pytest

from lazyrich import InputError
from lazyrich._tables import number_or_nan, read_table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_was_written_comes_back(tmp_path, encoding, ends):
    values = np.random.default_rng(0).standard_normal((7, 3))
    with (tmp_path / "a.csv").open("w", newline="", encoding=encoding) as file:
        csv.writer(file, lineterminator=ends).writerows([["größe", "b, c", "d"], *values.tolist()])
    table = read_table(tmp_path / "a.csv")
    assert list(table.columns) == ["größe", "b, c", "d"]
    np.testing.assert_array_equal(table.numbers(["d", "größe", "d"]), values[:, [2, 0, 2]])
    assert list(table.text("b, c")) == [str(value) for value in values[:, 1].tolist()]


def test_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text('x,y\n\n1,"two\nlines"\n\nmany,\n')
    table = read_table(str(tmp_path / "a.csv"))
    assert list(table.lines) == [4, 6]
    assert list(table.text("y")) == ["two\nlines", ""]
    with pytest.raises(InputError, match=r"a\.csv, line 6: column 'x' must hold .* Leave it\."):
        table.numbers(["x"], advice="Leave it.")


@pytest.mark.parametrize(
    "entry",
    ["0", "1", "-1.5", "+2", ".5", "5.", "1e3", "1E-3", " 2 ", "-.5e+10", "1e-400", "007"],
)
def test_what_is_a_number_is_the_one_that_python_reads(entry):
    assert number_or_nan(entry) == float(entry)


def test_a_name_may_stand_after_a_space_and_hold_another_mark(tmp_path):
    (tmp_path / "a.csv").write_text("x, y \n1,2\n")
    assert list(read_table(tmp_path / "a.csv").columns) == ["x", "y"]
    (tmp_path / "a.csv").write_text("odds;evens\n1\n")  # one column of an odd name
    assert read_table(tmp_path / "a.csv").numbers(["odds;evens"]) == [[1.0]]


REFUSED = {
    "empty": (b"", "must have a header and rows, got none. Export the table anew"),
    "header": (b"x,y\n", "must have a header and rows, got none"),
    "names": (
        b"x,x\n1,2\n",
        r"columns of different names, got \['x', 'x'\]. Give each column its own name",
    ),
    "spaces": (b"x, x\n1,2\n", r"columns of different names, got \['x', 'x'\]"),
    "short": (b"x,y\n1,2\n1\n", "must have 2 entries in each row, got 1 in line 3. It may be cut"),
    "long": (b"x,y\n1,2,3\n", "must have 2 entries in each row, got 3 in line 2. Quote entries"),
    "semicolons": (b"x;y\n1;2\n", r"must have commas between its columns, got semicolons: 'x;y'"),
    "decimal commas": (
        b"x;y\n1,5;2,5\n",
        "got semicolons: 'x;y'. Save it with commas between columns and points",
    ),
    "tabs": (b"x\ty\n1\t2\n", "must have commas between its columns, got tabs"),
    "bars": (b"x|y\n1|2\n", "must have commas between its columns, got bars"),
    "underscore": (b"x,y\n1,1_0\n", "line 2: column 'y' must hold finite numbers, got '1_0'"),
    "digits": ("x,y\n1,١٢\n".encode(), "column 'y' must hold finite numbers, got '١٢'"),
    "hexadecimal": (b"x,y\n1,0x10\n", "must hold finite numbers, got '0x10'"),
    "huge": (b"x,y\n1,1e999\n", "must hold finite numbers, got '1e999'"),
    "comma": (b'x,y\n1,"2,5"\n', "got '2,5'. Correct it .* Write a point for a decimal comma"),
    "column": (b"x,z\n1,2\n", "has no column 'y', it has x, z. Spell it as the header does"),
    "word": (b"x,y\n1,four\n", r"line 2: column 'y' must hold finite numbers, got 'four'\. Corr"),
    "nothing": (b"x,y\n1,\n", "line 2: column 'y' must hold finite numbers, got ''"),
    "nan": (b"x,y\n1,nan\n", "line 2: column 'y' must hold finite numbers, got 'nan'"),
    "infinite": (b"x,y\n1,-inf\n", "line 2: column 'y' must hold finite numbers, got '-inf'"),
    "binary": (b"x,y\n\xff\xfe\x00,1\n", "must be a CSV file in UTF-8, got one that is not: 'utf"),
    "field": (b"x,y\n1," + b"9" * 200_000 + b"\n", "got one that is not: field larger"),
    "quotes": (
        b'x,y\n1,"2\n',
        "got one that is not: unexpected end of data. Export the table anew",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals(tmp_path, kind):
    content, message = REFUSED[kind]
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "a.csv").numbers(["x", "y"])


@pytest.mark.parametrize("name", ["gone.csv", "folder", "file/a.csv"])
def test_what_is_no_file_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=rf"{name} must be a CSV file, and there is no file of that name"
    ):
        read_table(tmp_path / name)

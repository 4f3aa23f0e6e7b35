"""Source files have at most 400 lines, functions at most 40 lines of code, or say why not.

The code of a function is its body without docstring, blank lines and comments; the signature, which
grows with the names that users read, does not count. A reason is a comment that begins with
`# long:`, for a file on a line of its own at its left edge, for a function inside of it.
"""

import ast
import io
import tokenize
from pathlib import Path

import pytest

import lazyrich

FILE, FUNCTION = 400, 40
REASON = "# long: "
SOURCE = Path(lazyrich.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}


def breaches(source):
    """What is too long in a source without a reason, by name and lines."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    code = {
        line
        for token in tokens
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    reasons = [
        t.start for t in tokens if t.type == tokenize.COMMENT and t.string.startswith(REASON)
    ]
    found = {}
    if (lines := len(source.splitlines())) > FILE and not any(column == 0 for _, column in reasons):
        found["file"] = lines
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            inside = range(body[0].lineno, node.end_lineno + 1) if body else range(0)
            lines = len(code.intersection(inside))
            stated = any(node.lineno <= line <= node.end_lineno for line, _ in reasons)
            if lines > FUNCTION and not stated:
                found[node.name] = lines
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_and_functions_are_short_or_say_why(file):
    assert breaches(file.read_text("utf-8")) == {}


def function(lines, extra=""):
    body = "".join(f"    x = {n}\n" for n in range(lines))
    return f'def f(\n    a,\n    b,\n):\n    """What.\n\n    More.\n    """\n{extra}{body}'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (function(40), {}),
        (function(41), {"f": 41}),
        (function(40, "\n    # a comment\n\n"), {}),
        (function(41, "    # long: one table\n"), {}),
        ("# long: for the function, this is no reason\n" + function(41), {"f": 41}),
        (function(38, "    x = '''\n\n'''\n"), {"f": 41}),
        ("class A:\n    async def g(self):\n" + "        x = 1\n" * 41, {"g": 41}),
        ("x = 1\n" * 400, {}),
        ("x = 1\n" * 401, {"file": 401}),
        ("# long: a table\n" + "x = 1\n" * 400, {}),
        (function(1, "    # long: this is no reason for the file\n") + "\n" * 400, {"file": 410}),
    ],
)
def test_what_counts(source, expected):
    assert breaches(source) == expected


def test_every_file_is_looked_at():
    assert len(FILES) > 100

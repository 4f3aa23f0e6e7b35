"""The part of an error that says what to do says something that can be done."""

import ast
import re
from pathlib import Path

import pytest

import lazyrich

SOURCE = Path(lazyrich.__file__).parent
EMPTY = re.compile(
    r"(Correct|Change|Choose|Fix|Raise|Lower|Rename|Convert|Remove|Give|Name|Save|Make|Mend)"
    r"( (it|them|one|some|first|so|again|of|these|the|two|among|a format|path|recipe))*\.$"
)


def text_of(node):
    """The text of a literal, with `…` for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(x.value if isinstance(x, ast.Constant) else "…" for x in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def empty_remedies(source):
    """Messages of errors that end in advice that nobody can follow."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith("Error"):
            last = text_of(node.args[0]).rpartition(". ")[2]
            if EMPTY.match(last):
                yield node.lineno, last


@pytest.mark.parametrize("end", ["Correct it.", "Choose one of these.", "Rename.", "Remove one."])
def test_an_empty_remedy_is_seen(end):
    assert list(empty_remedies(f'raise InputError(f"`x` must be > 0, got {{x}}. {end}")'))


def test_every_remedy_can_be_followed():
    found = {
        f"{path.relative_to(SOURCE)}:{line} {text}"
        for path in SOURCE.rglob("*.py")
        for line, text in empty_remedies(path.read_text("utf-8"))
    }
    assert not found

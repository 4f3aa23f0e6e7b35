"""Every description of an argument or attribute is a phrase with a head, and ends."""

import re

import griffe
import pytest

SECTIONS = ("parameters", "other parameters", "attributes")
HEADLESS = re.compile(
    r"(of|from|with|that|which|whose|by|in|on|to|for|over|after|as|see|it|there|under|between|"
    r"below|above|before|beyond|like|than|likewise|also|and|or|but)\b|at which\b|[,;:.]"
)


def descriptions(docstring):
    """Name and description of each entry of a Google docstring."""
    for section in griffe.Docstring(docstring).parse("google"):
        if section.kind.value in SECTIONS:
            for entry in section.value:
                yield entry.name, " ".join(entry.description.split())


def faults(docstring):
    for name, text in descriptions(docstring):
        if HEADLESS.match(text):
            yield f"{name}: {text} (what is it?)"
        elif not re.search(r"[.…]`?\)?$", text):
            yield f"{name}: {text} (no full stop)"


def every_docstring():
    package = griffe.load("lazyrich", docstring_parser="google")
    stack = [package]
    while stack:
        for member in stack.pop().members.values():
            if member.is_alias:
                continue
            if member.docstring:
                yield member.path, member.docstring.value
            if member.is_module or member.is_class:
                stack.append(member)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("of the samples.", 1),
        ("that training will make.", 1),
        ("see `forecast`.", 1),
        ("targets of the samples", 1),
        ("targets of the samples.", 0),
        ("the same as in `forecast`.", 0),
        ("which of the layers are judged.", 1),
    ],
)
def test_a_fragment_is_seen(entry, found):
    assert len(list(faults(f"Look.\n\nArgs:\n    names: {entry}"))) == found


def test_every_description_has_a_head_and_an_end():
    wrong = [f"{path}: {fault}" for path, text in every_docstring() for fault in faults(text)]
    assert not wrong, "\n".join(wrong)

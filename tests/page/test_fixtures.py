"""The numbers that the page is held to are still Python's."""

import json
import math
from itertools import chain

import pytest

pytest.importorskip("torch")

from tests.page import fixtures

ROUNDING = 1e-12  # relative: other machines and versions round differently
CANCELLED = 1e-14  # of numbers of order one


def differences(committed, now, at=""):
    """Where two pieces of JSON are not the same but for rounding."""
    if isinstance(committed, dict) and isinstance(now, dict) and committed.keys() == now.keys():
        parts = (differences(committed[key], now[key], f"{at}.{key}") for key in now)
        return list(chain.from_iterable(parts))
    if isinstance(committed, list) and isinstance(now, list) and len(committed) == len(now):
        pairs = enumerate(zip(committed, now, strict=True))
        return list(chain.from_iterable(differences(*pair, f"{at}[{i}]") for i, pair in pairs))
    numbers = all(isinstance(one, int | float) for one in (committed, now))
    same = numbers and math.isclose(committed, now, rel_tol=ROUNDING, abs_tol=CANCELLED)
    return [] if same or committed == now else [f"{at}: {committed} is now {now}"]


@pytest.mark.parametrize("name", [name for name in fixtures.FILES if name != "line"])
def test_they_are_current(name):
    committed = json.loads((fixtures.FOLDER / f"{name}.json").read_text())
    now = json.loads(json.dumps(fixtures.plain(fixtures.FILES[name]())))
    assert differences(committed, now)[:5] == [], "run `python -m tests.page.fixtures`"


def test_those_of_the_closed_form_are_current():
    committed = json.loads((fixtures.FOLDER / "line.json").read_text())
    cases = fixtures.line_cases()
    assert [one["name"] for one in committed] == list(cases)
    for one in committed:
        now = json.loads(
            json.dumps(fixtures.plain(fixtures.line_case(cases[one["name"]], exact=False)))
        )
        assert differences({key: one[key] for key in now}, now)[:5] == [], one["name"]

"""The views that the browser's tests compare with are what the library gives."""

import json

import pytest

from tests.page.fixtures import plain
from tests.page.views import TARGET, VIEWS, view

SAVED = {one["name"]: one for one in json.loads(TARGET.read_text(encoding="utf-8"))}


def close(found, saved):
    """Equal words; numbers up to what another machine's libraries round otherwise."""
    if isinstance(saved, dict):
        return found.keys() == saved.keys() and all(close(found[key], saved[key]) for key in saved)
    if isinstance(saved, list):
        return len(found) == len(saved) and all(map(close, found, saved))
    return found == (
        pytest.approx(saved, rel=1e-8, abs=1e-15) if isinstance(saved, float) else saved
    )


@pytest.mark.parametrize(("name", "law", "given"), VIEWS, ids=[name for name, _, _ in VIEWS])
def test_a_saved_view_is_current(name, law, given):
    assert close(plain({"name": name, **view(law, given)}), SAVED[name]), (
        "page/test/fixtures/views.json is old: python -m tests.page.views writes it anew"
    )


def test_every_saved_view_is_made():
    assert list(SAVED) == [name for name, _, _ in VIEWS]

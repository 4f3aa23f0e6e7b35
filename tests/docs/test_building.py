"""The tests take the site that `scripts/check` has built, if it is of what is there now."""

import os

import pytest
from tests.docs.building import ROOT, is_built

FILES = ("mkdocs.yml", "scripts/check", "docs/index.md", "docs/a/b.md", "src/lazyrich/a.py")


@pytest.fixture
def tree(tmp_path):
    for name in (*FILES, "src/lazyrich/__pycache__/a.pyc", "site/checked.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for path in tmp_path.rglob("*"):
        os.utime(path, (1000, 1000))
    os.utime(tmp_path / "site" / "checked.txt", (2000, 2000))
    return tmp_path


def test_a_site_newer_than_its_sources_is_taken(tree):
    (tree / "src" / "lazyrich" / "__pycache__" / "a.pyc").write_text("compiled again")
    assert is_built(tree)


@pytest.mark.parametrize("name", FILES)
def test_none_that_is_older_than_a_source(tree, name):
    (tree / name).write_text("changed")
    assert not is_built(tree)


@pytest.mark.parametrize("page", ["a/b.md", "index.md"])
def test_none_of_a_page_that_is_gone(tree, page):
    (tree / "docs" / page).unlink()
    assert not is_built(tree)


def test_none_that_was_not_built_by_the_script(tree):
    (tree / "site" / "checked.txt").unlink()  # as mkdocs does
    assert not is_built(tree)
    assert "/checked.txt" in (ROOT / "scripts" / "check").read_text("utf-8")

"""A fault of the documentation fails its build: each one is planted in a small copy of the tree."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("material", reason="the documentation needs the extra 'dev'")

from tests.docs.building import ROOT, build

FAULTS = {
    "[x](nowhere.md)": "contains a link 'nowhere.md', but the target is not found",
    "[x](#nothing)": "contains a link '#nothing', but there is no such anchor",
    "[x](other.md#nothing)": "does not contain an anchor '#nothing'",
    "[x][lazyrich.nothing]": "Could not find cross-reference target 'lazyrich.nothing'",
    "![x](img/nothing.png)": "contains a link 'img/nothing.png', but the target",
    "[x](/other.md)": "contains an absolute link '/other.md'",
    "[x](other)": "contains an unrecognized relative link 'other'",
}
OWN = "nav: [index.md, other.md]\nhooks: []\nextra_css: []\n"  # hooks load the whole vocabulary


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The project's own settings around two short pages."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "src").symlink_to(ROOT / "src")
    for aid in (ROOT / "docs").glob("*_*.py"):  # of the plugins
        shutil.copy(aid, tmp_path / "docs")
    (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\n{OWN}", "utf-8")
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[Two](other.md#part)\n", "utf-8")
    (tmp_path / "docs" / "other.md").write_text("# Two\n\n## Part\n", "utf-8")
    return tmp_path


def plant(page: Path, text: str) -> None:
    page.write_text(f"{page.read_text('utf-8')}\n{text}\n", "utf-8")


def test_a_sound_tree_builds(tree: Path, tmp_path: Path) -> None:
    done = build(tree, tmp_path / "site")
    assert done.returncode == 0, done.stderr


def test_each_fault_is_a_warning_and_fails_the_build(tree: Path, tmp_path: Path) -> None:
    plant(tree / "docs" / "index.md", "\n\n".join(FAULTS))
    (tree / "docs" / "alone.md").write_text("# In no menu\n", "utf-8")
    done = build(tree, tmp_path / "site")
    assert done.returncode != 0
    warnings = done.stderr.replace("\n  - ", " - ").splitlines()
    for said in (*FAULTS.values(), 'not included in the "nav" configuration: - alone.md'):
        assert any(said in line and line.startswith("WARNING") for line in warnings), said

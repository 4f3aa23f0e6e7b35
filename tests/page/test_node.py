"""The page's own tests and its build, where Node is."""

import re

from lazyrich.explore.page import PAGE
from tests.page.node import FOLDER, needs_node, node


@needs_node
def test_the_numerics_in_node():
    said = node("test.mjs", seconds=240)
    assert int(re.search(r"^# pass (\d+)$", said, re.M)[1]) > 400
    assert re.search(r"^# fail 0$", said, re.M)


@needs_node
def test_the_page_is_what_its_sources_give(tmp_path):
    node("build.mjs", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == PAGE.read_bytes(), "run scripts/page"


def test_the_lock_file_names_no_registry():
    text = (FOLDER / "package-lock.json").read_text()
    assert "resolved" not in text
    assert re.findall(r"https?://(?!opencollective|github\.com)[^\"]+", text) == []

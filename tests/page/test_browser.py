"""The page in a real browser, where one is: its own tests, which compare with tests.page.views."""

import re
import shutil

import pytest

from tests.page.node import needs_node, node

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on PATH")


@needs_node
@needs_chromium
def test_the_page_in_a_browser():
    said = node("test.mjs", "test/browser", seconds=560)
    assert int(re.search(r"^# pass (\d+)$", said, re.M)[1]) > 30
    assert re.search(r"^# fail 0$", said, re.M)
    assert re.search(r"^# skipped 0$", said, re.M)

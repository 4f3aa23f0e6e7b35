"""The report in a real browser: no error, no request, no overflow on a phone."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from lazyrich import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
PHONE = 390

# The phone is an iframe: headless windows have a least width of their own.
PROBE = """<!doctype html><meta charset="utf-8">
<iframe id="phone" style="width:{width}px;height:800px;border:0" src="{page}"></iframe>
<pre id="found"></pre>
<script>
const frame = document.getElementById("phone");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const images = [...page.images];
  document.getElementById("found").textContent = JSON.stringify({{
    width: root.clientWidth,
    needed: root.scrollWidth,
    images: images.length,
    drawn: images.filter((image) => image.complete && image.naturalWidth > 0).length,
    requests: frame.contentWindow.performance.getEntriesByType("resource")
      .map((entry) => entry.name).filter((name) => !name.startsWith("data:")),
    tables: [...page.querySelectorAll(".table")].every((box) =>
      getComputedStyle(box).overflowX === "auto" && box.clientWidth <= root.clientWidth),
    title: page.title,
  }});
}});
</script>
"""


MAP = """<!doctype html><meta charset="utf-8">
<iframe id="report" style="width:1000px;height:2000px" src="{page}"></iframe>
<pre id="found"></pre>
<script>
const report = document.getElementById("report");
report.addEventListener("load", () => {{
  const map = report.contentDocument.querySelector("details.map iframe");
  report.contentDocument.querySelector("details.map").open = true;
  setTimeout(() => {{
    const page = map.contentDocument, one = (query) => page.querySelector(query);
    const said = {{
      tab: one("[role=tab][aria-selected=true]").textContent,
      regime: one(".panel:not([hidden]) .chip").textContent,
      problem: !one(".problem").hidden,
      link: [...page.querySelectorAll(".share:not([hidden])")].map((one) => one.textContent),
    }};
    page.querySelectorAll("[role=tab]")[1].click(); // writing into an address is an error there
    document.getElementById("found").textContent = JSON.stringify(said);
  }}, 2000);
}});
</script>
"""


def looked_at(page, through=PROBE):
    """What a browser says of a page, asked by the page around it."""
    outer = page.parent / "outer.html"
    outer.write_text(through.format(width=PHONE, page=page.name), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            "--allow-file-access-from-files",
            f"--user-data-dir={page.parent / 'profile'}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stdout[-500:]
    return json.loads(unescape(match[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_the_report_on_a_phone(probe, tmp_path):
    found = looked_at(write_report(probe.history, tmp_path / "report.html"))
    assert found["width"] == found["needed"] == PHONE
    assert found["images"] == found["drawn"] == 6
    assert found["requests"] == []
    assert found["tables"]
    assert found["title"].startswith(probe.verdict().regime)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_the_report_has_the_network_on_the_map(probe, tmp_path):
    found = looked_at(write_report(probe.history, tmp_path / "report.html"), MAP)
    assert found["tab"] == "Place my network"
    assert found["regime"] == probe.verdict().regime
    assert not found["problem"]
    assert "Copy link" not in found["link"]  # the page has no address there

"""The documentation is built as `scripts/check` builds it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def flags() -> list[str]:
    """What `scripts/check` passes to mkdocs, but for the folder."""
    script = (ROOT / "scripts" / "check").read_text("utf-8")
    (line,) = (line for line in script.splitlines() if ".venv/bin/mkdocs build" in line)
    given = line.split("mkdocs build")[1].split("--site-dir")[0]
    return shlex.split(given)


def build(tree: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a tree into a folder."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *flags(), "--site-dir", site],
        cwd=tree,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )

"""The documentation is built as `scripts/check` builds it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHERS = ("scripts", "src", "papers", "examples")
COMPILED = {".pyc", ".nbi", ".nbc"}  # by Python and Numba


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


def is_built(tree: Path = ROOT) -> bool:
    """Whether `scripts/check` has built the site of a tree from all that is there now.

    A page that is gone has changed its folder; the folders of other sources change when Python
    keeps what it has compiled.
    """
    stamp = tree / "site" / "checked.txt"  # mkdocs removes it when it builds
    if not stamp.is_file():
        return False
    pages = [tree / "docs", *(tree / "docs").rglob("*")]
    sources = [path for path in pages if "__pycache__" not in path.parts]
    for found in (tree.iterdir(), *((tree / name).rglob("*") for name in OTHERS)):
        sources += [path for path in found if path.is_file()]
    written = (path.stat().st_mtime for path in sources if path.suffix not in COMPILED)
    return max(written) < stamp.stat().st_mtime

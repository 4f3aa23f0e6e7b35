"""Node and the packages of the page, where a machine has them."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "page"
NODE = shutil.which("node")
REASON = (
    "no node on PATH" if NODE is None
    else "the page's packages are not installed: `npm ci` in page/"
)  # fmt: skip

needs_node = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules" / "esbuild").is_dir(), reason=REASON
)


def node(*arguments, given=None, seconds=120):
    """Run a script of the page; what it printed."""
    done = subprocess.run(
        [NODE, *map(str, arguments)],
        cwd=FOLDER,
        input=given,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout

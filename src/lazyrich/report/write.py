"""The report of a watched training run: verdict first, then the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich import __version__
from lazyrich._files import check_target, write_whole
from lazyrich.plot.style import style
from lazyrich.report import sections
from lazyrich.report.page import page
from lazyrich.report.setting import WORDS, network_name, setting
from lazyrich.report.words import STYLE

if TYPE_CHECKING:
    from lazyrich.probe.probe import Probe


def write(probe: Probe, path: str | Path) -> Path:
    """Write one HTML page that loads nothing else, whole or not at all.

    Args:
        probe: that has watched a training run.
        path: of the file.

    Returns:
        The path.

    Raises:
        InputError: the folder does not exist, or the probe has measured too little for a verdict.
        MissingExtraError: matplotlib is not installed.
    """
    target = check_target(path)
    verdict, history = probe.verdict(), probe.history
    with style():
        parts = [
            sections.opening(verdict, probe),
            sections.layers(verdict),
            sections.mechanisms(verdict, history),
            sections.kernel(history),
            sections.forecast(verdict, history, probe.forecasted),
            sections.features(history),
            sections.evidence(verdict),
            setting(probe),
            WORDS,
        ]
    title = f"{verdict.status}: {network_name(probe)}"
    made = f"lazyrich {__version__}"
    text = page(title, "\n".join(parts), made, style=STYLE)
    return write_whole(target, lambda new: new.write_text(text, encoding="utf-8"))

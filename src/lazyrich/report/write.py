"""The report of a watched training run: verdict first, then the evidence."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from lazyrich import __version__
from lazyrich._errors import InputError
from lazyrich._files import check_target, write_whole
from lazyrich.plot.style import style
from lazyrich.probe.forecast.result import Forecast
from lazyrich.probe.verdict import Verdict, judge
from lazyrich.report import sections
from lazyrich.report.map import map_section
from lazyrich.report.page import page
from lazyrich.report.setting import WORDS, MeasurementSetup, setup_section
from lazyrich.report.words import STYLE

SUFFIXES = (".html", ".htm")
NEEDED = {"setting", "skipped", "overhead"}  # attributes of every history of a probe


def check_page(path: str | Path) -> Path:
    """Refuse a path that no page can be written to, before the work is done.

    Args:
        path: path of the page.

    Returns:
        The path.

    Raises:
        InputError: another suffix than .html or .htm, a folder that does not exist, or a folder.

    Example:
        >>> check_page("report.html").name
        'report.html'
    """
    return check_target(check_target(path), SUFFIXES)  # a folder is one, whatever its name


def write_report(
    history: xr.Dataset,
    path: str | Path,
    *,
    verdict: Verdict | None = None,
    forecast: Forecast | None = None,
) -> Path:
    """Write one HTML page about a training run, whole or not at all; it loads nothing else.

    Args:
        history: the history of a probe, fresh or loaded from a file.
        path: path of the page.
        verdict: None for that of the history.
        forecast: None for the one that the history carries, if any that can be read: one of an
            older version is left out.

    Returns:
        The path.

    Raises:
        InputError: the path is not that of a page, see `check_page`; or it is no history of a
            probe.
        MissingExtraError: matplotlib is not installed.
    """
    target = check_page(path)
    if not set(getattr(history, "attrs", ())) >= NEEDED:
        raise InputError(
            "`history` must be that of a probe, with its attributes, got a "
            f"{type(history).__name__} without them. Pass `probe.history`, or what `probe.save` "
            "has written."
        )
    verdict = judge(history) if verdict is None else verdict
    forecast = _carried(history) if forecast is None else forecast
    of = MeasurementSetup.of(history)
    with style():
        parts = [
            sections.opening(verdict, history, forecast, of),
            sections.layer_section(verdict),
            sections.mechanism_section(verdict, history),
            sections.kernel_section(history),
            sections.forecast_section(
                verdict, history, forecast, older="forecast" in history.attrs
            ),
            sections.feature_section(history),
            sections.evidence_section(verdict),
            map_section(history),
            setup_section(of, verdict),
            sections.advice_section(verdict),
            WORDS,
        ]
    title = f"{verdict.regime}: {of.network}"
    made = f"lazyrich {__version__}"
    text = page(title, "\n".join(parts), made, style=STYLE)
    return write_whole(target, lambda new: new.write_text(text, encoding="utf-8"))


def _carried(history: xr.Dataset) -> Forecast | None:
    """The forecast that a history has with it; none of version 0.2, which rehearsed nothing."""
    try:
        return Forecast.from_json(history.attrs["forecast"])
    except (KeyError, InputError):
        return None

"""The report of two runs side by side: the difference first, then what it rests on."""

from __future__ import annotations

from html import escape
from math import isnan
from pathlib import Path

import xarray as xr

from lazyrich import __version__, plot
from lazyrich._files import write_whole
from lazyrich.observables.catalogue import quantities
from lazyrich.plot.style import style
from lazyrich.probe.compare import Compared
from lazyrich.probe.contrast import Contrast, Difference, Reading
from lazyrich.probe.contrast_words import told
from lazyrich.probe.wording import ITSELF
from lazyrich.report.page import drawing, html_table, page
from lazyrich.report.sections import LARGE
from lazyrich.report.setting import WORDS
from lazyrich.report.words import NOTHING, STYLE, chip, items, number, tiles
from lazyrich.report.write import check_page

DRAWN = ("loss", "ntk_change", "linearisation_error", "centred_kernel_distance")
CHANGE = "layer_ntk_change"


def write_comparison(compared: Compared, path: str | Path) -> Path:
    """Write one HTML page about two runs side by side, whole or not at all; it loads nothing else.

    Args:
        compared: the result of `lazyrich.compare`.
        path: path of the page.

    Returns:
        The path.

    Raises:
        InputError: the path is not that of a page, see `check_page`.
        MissingExtraError: matplotlib is not installed.
    """
    target = check_page(path)
    with style():
        parts = [_opening(compared), _layers(compared), _pictures(compared), _numbers(compared)]
    title = f"{compared.names[0]} and {compared.names[1]}"
    body = "\n".join([*parts, _apart(compared), WORDS])
    text = page(title, body, f"lazyrich {__version__}", style=STYLE)
    return write_whole(target, lambda new: new.write_text(text, encoding="utf-8"))


def _opening(of: Compared) -> str:
    """The two words, and the numbers that one asks for first."""
    facts = []
    for name, verdict, history in zip(of.names, of.verdicts, of.histories, strict=True):
        low, high = verdict.interval
        span = "no interval" if isnan(low) else f"95 % interval {number(low)} to {number(high)}"
        facts += [
            (f"change of the NTK, {name}", number(verdict.evidence["ntk_change"]), span),
            (f"loss on the probe batch, {name}", _ends(history), "first → last"),
        ]
    chips = "".join(
        f"<td>{escape(name)}</td><td>{chip(verdict.regime)}</td>"
        for name, verdict in zip(of.names, of.verdicts, strict=True)
    )
    return f"""<p class="kicker">lazyrich · two runs side by side</p>
<h1>{escape(of.names[0])} and {escape(of.names[1])}</h1>
<div class="table" tabindex="0" role="region"><table><tbody><tr>{chips}</tr></tbody></table></div>
<p class="lead">{escape(of.sentence)}</p>
{tiles(facts)}"""


def _ends(history: xr.Dataset) -> str:
    if "loss" not in history or not history.sizes["step"]:
        return NOTHING
    return f"{number(float(history.loss[0]))} → {number(float(history.loss[-1]))}"


def _layers(of: Compared) -> str:
    """A row for each layer of either run."""
    a, b = map(escape, of.names)
    known = {c.layer: c for c in of.contrasts if c.quantity == CHANGE}
    rows = []
    for layer in of.layers:
        first, second = (chip(one) if one else NOTHING for one in of.regimes(layer))
        name = f"<code>{escape(layer or ITSELF)}</code>"
        rows.append([name, first, second, *_cells(known.get(layer), of.names[1])])
    head = ("layer", a, b, f"NTK change, {a}", f"NTK change, {b}", "difference")
    return f"<h2>Layer by layer</h2>{html_table(head, rows)}"


def _cells(contrast: Contrast | None, second: str) -> list[str]:
    if contrast is None:
        return [NOTHING] * 3
    if contrast.first is None or contrast.second is None:
        word = "only in one"
    else:
        word = told(contrast.difference, second)
    seen = contrast.difference in (Difference.MORE, Difference.LESS)
    said = f"<b>{escape(word)}</b>" if seen else escape(word)
    return [_reading(contrast.first), _reading(contrast.second), said]


def _reading(of: Reading | None) -> str:
    if of is None:
        return NOTHING
    if isnan(of.low):
        return number(of.value)
    span = f"({number(of.low)} to {number(of.high)})"
    return f'{number(of.value)} <span class="when quiet">{span}</span>'


def _pictures(of: Compared) -> str:
    """Both runs over their steps, on one pair of axes a quantity."""
    figures = []
    for name in DRAWN:
        if any(name in history for history in of.histories):
            made = plot.figure(width=LARGE[0], height=LARGE[1])
            plot.side_by_side(*of.histories, name, names=of.names, ax=made.axes[0])
            figures.append(f"<figure>{drawing(made, f'{name} of both runs over steps')}</figure>")
    return f'<h2>Over the steps</h2><div class="grid">{"".join(figures)}</div>' if figures else ""


def _numbers(of: Compared) -> str:
    """All other quantities, those that differ first."""
    known = quantities()
    order = (Difference.MORE, Difference.LESS, Difference.NONE_SEEN, Difference.CANNOT_TELL)
    rows = [
        [
            escape(known[c.quantity].meaning if c.quantity in known else c.quantity),
            NOTHING if c.layer is None else f"<code>{escape(c.layer or ITSELF)}</code>",
            *_cells(c, of.names[1]),
        ]
        for c in sorted(of.contrasts, key=lambda c: order.index(c.difference))
        if c.quantity != CHANGE
    ]
    a, b = map(escape, of.names)
    return f"""<h2>All numbers</h2>
<p>A difference is said to be one only where the 95 % intervals have nothing in common. By chance
alone that happens to about one pair in 180 where both are equally uncertain, and to at most one in
20. A number without an interval stands for itself.</p>
{html_table(("quantity", "layer", a, b, "difference"), rows)}"""


def _apart(of: Compared) -> str:
    """How the two were measured differently."""
    said = items(of.notes) or "<p>Both were measured alike.</p>"
    return f"<h2>How the two were measured</h2>{said}"

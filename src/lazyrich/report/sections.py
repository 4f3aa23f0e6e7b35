"""What stands in the report, from the verdict to the forecast; each section is HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from math import isfinite

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich import plot
from lazyrich.observables.catalogue import quantities
from lazyrich.plot.history import SHARES
from lazyrich.plot.mechanisms import COLOURS
from lazyrich.plot.style import BLACK, BLUE, GREEN
from lazyrich.probe.agreement import agreement
from lazyrich.probe.forecast.result import Forecast, with_error
from lazyrich.probe.one_look import as_html
from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.verdict import QUANTITIES as OF_VERDICT
from lazyrich.probe.verdict import LayerVerdict, Verdict
from lazyrich.probe.wording import ITSELF
from lazyrich.report.page import drawing, html_table
from lazyrich.report.setting import MeasurementSetup
from lazyrich.report.words import NOTHING, chip, html_legend, items, number, tiles
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.quantity import by_name

MOST_PICTURES = 24  # of layers; the table has them all
SMALL, LARGE = (3.1, 2.1), (3.9, 2.6)  # inches
CSS_LINES = {"-": "solid", "--": "dashed", ":": "dotted"}


def opening(
    verdict: Verdict, history: xr.Dataset, before: Forecast | None, of: MeasurementSetup
) -> str:
    """The verdict in words, and the numbers that one asks for first."""
    facts = [
        ("forecast change of the NTK", _foretold_change(before), _bounds(verdict.thresholds)),
        ("change of the NTK", number(verdict.evidence["ntk_change"]), _interval(verdict)),
        (
            "rotation of the NTK between samples",
            number(verdict.evidence["centred_kernel_distance"]),
            "0: none, 1: all",
        ),
        ("loss on the probe batch", _ends(history, "loss"), f"first → last, {of.loss}"),
    ]
    return f"""<p class="kicker">lazyrich · how {escape(of.network)} learned</p>
<h1>{chip(verdict.regime)}</h1>
<p class="lead">{escape(verdict.sentence)}</p>
{tiles(facts)}
{items(verdict.notes)}"""


def evidence_section(verdict: Verdict) -> str:
    """The numbers behind the verdict, beside their thresholds."""
    limits = verdict.thresholds
    bounds = {
        "ntk_change": _bounds(limits),
        "centred_kernel_distance": f"turned from {limits.turned_from:g}",
        "output_change": f"frozen below {limits.frozen_below:g}",
        "loss_ratio": f"unstable above {limits.unstable_above:g}",
    }
    known = quantities() | by_name(OF_VERDICT)
    rows = [
        [
            escape(known[name].meaning),
            escape(known[name].symbol),
            number(value),
            bounds.get(name, NOTHING),
        ]
        for name, value in verdict.evidence.items()
        if name in known and not name.endswith(("_low", "_high")) and isfinite(value)
    ]
    numbers = html_table(("quantity", "symbol", "last finite value", "threshold"), rows)
    return f"<h2>The numbers behind it</h2>{numbers}"


def advice_section(verdict: Verdict) -> str:
    """What to change, or that nothing has to be."""
    sentences = "".join(f"<li>{as_html(sentence)}</li>" for sentence in verdict.advice)
    return f"<h2>What now?</h2><ul>{sentences}</ul>" if sentences else ""


def layer_section(verdict: Verdict) -> str:
    """A row for each layer."""
    head = (
        *("layer", "regime", "NTK change", "mechanisms, and when"),
        *("alignment<br>Δ ln A", "rescaling<br>Δ ln‖W‖", "NFA", "C-NFA"),
    )
    return f"<h2>Layer by layer</h2>{html_table(head, [_row(layer) for layer in verdict.layers])}"


def _row(layer: LayerVerdict) -> list[str]:
    windows = "<br>".join(
        f'<span class="when"><i style="background:{COLOURS[w.mechanism]}"></i>'
        f"{w.mechanism}, step {w.start:.0f} to {w.stop:.0f}</span>"
        for w in layer.mechanisms
    )
    return [
        f"<code>{escape(layer.name or ITSELF)}</code>",
        chip(layer.regime),
        _with_interval(
            *(layer.evidence[f"layer_ntk_change{end}"] for end in ("", "_low", "_high"))
        ),
        windows or NOTHING,
        number(layer.layer_log_alignment),
        number(layer.layer_log_rescaling),
        number(layer.nfa),
        number(layer.cnfa),
    ]


def mechanism_section(verdict: Verdict, history: xr.Dataset) -> str:
    """The mechanisms' shares of every layer over time."""
    if "layer_log_alignment" not in history:
        return ""
    acting = {layer.name: layer.mechanisms for layer in verdict.layers}

    def draw(layer: str, ax: Axes) -> None:
        windows = tuple((w.mechanism, w.start, w.stop) for w in acting.get(layer, ()))
        plot.mechanism_shares(history, layer, windows=windows, ax=ax)

    present = [entry for entry in SHARES if entry[0] in history]
    return f"""<h2>Which mechanism acted, and when</h2>
<p>The change of ln‖output‖ since the start is the sum of these parts over all layers, exactly:
a layer aligns its weight with its inputs, or rescales it; what follows a layer adds its gain. Bars
at the bottom mark the steps in which a mechanism did the middle 80 % of its work.</p>
{html_legend([(label, colour, CSS_LINES[line]) for _, label, colour, line in present])}
{_grid(history, [name for name, *_ in present], draw)}"""


def feature_section(history: xr.Dataset) -> str:
    """The neural feature ansatz of every layer over time."""
    if "nfa" not in history:
        return ""
    lines = [("NFA ± standard error", BLUE, "solid"), ("centred NFA", GREEN, "solid")]
    return f"""<h2>What the layers' weights see</h2>
<p>The neural feature ansatz (NFA) is the correlation of a layer's WᵀW with the average gradient
outer product: near 1, the weights look where the output is sensitive. Only what is above the dotted
line says anything: that much comes by chance. The centred NFA asks the same of the weights'
change since the start.</p>
{html_legend([*lines, ("NFA by chance (null)", BLACK, "dotted")])}
{_grid(history, ["nfa"], lambda layer, ax: plot.feature_ansatz(history, layer, ax=ax))}"""


def kernel_section(history: xr.Dataset) -> str:
    """The kernel's motion beside the loss."""
    pictures: list[tuple[str, Callable[[Axes], object]]] = []
    if "ntk_change" in history:
        pictures.append(
            (
                "The neural tangent kernel stands still in lazy training.",
                lambda ax: plot.kernel_motion(history, ax=ax),
            )
        )
    if "loss" in history:
        pictures.append(("The loss meanwhile.", lambda ax: plot.loss_curve(history, ax=ax)))
    if not pictures:
        return ""
    drawn = "".join(_figure(draw, LARGE, caption, caption) for caption, draw in pictures)
    return f'<h2>The kernel</h2><div class="grid">{drawn}</div>'


def forecast_section(
    verdict: Verdict, history: xr.Dataset, before: Forecast | None, *, older: bool = False
) -> str:
    """What was forecast, beside what came; `older` is one that cannot be read any more."""
    if before is None:
        none = (
            "The one that was made before training is of an older version, and is not shown."
            if older
            else "None was made before training: <code>probe.forecast()</code>."
        )
        return f"<h2>Forecast</h2><p>{none}</p>"
    picture = ""
    if "ntk_change" in history:
        picture = _figure(
            lambda ax: plot.forecast_and_outcome(
                history, before.predicted_ntk_change, before.predicted_ntk_change_stderr, ax=ax
            ),
            LARGE,
            _beside(before),
            "Forecast and measured change of the NTK over the steps",
        )
    table = html_table(("", "forecast", "outcome"), _compared(verdict, history, before))
    said = "".join(f"<p>{escape(x)}</p>" for x in agreement(before, verdict, history))
    return f"""<h2>Forecast against outcome</h2>
{said}
<div class="grid"><div>{table}{_shares(verdict, before)}</div>
{picture}</div>{items(before.notes)}"""


def _compared(verdict: Verdict, history: xr.Dataset, before: Forecast) -> list[list[str]]:
    """Forecast and outcome, quantity by quantity."""
    return [
        ["regime", chip(before.judged(verdict.thresholds)), chip(verdict.regime)],
        [
            "change of the NTK",
            _foretold_change(before),
            number(verdict.evidence["ntk_change"]),
        ],
        [
            "rotation between samples",
            number(before.predicted_centred_kernel_distance),
            number(verdict.evidence["centred_kernel_distance"]),
        ],
        [
            "loss, first → last",
            f"{number(before.network.losses[0])} → {number(before.network.losses[-1])}",
            _ends(history, "loss"),
        ],
        ["certificate (gap)", _certificate(before), NOTHING],
        ["richness ρ of the first step", _rho(before), NOTHING],
    ]


def _beside(before: Forecast) -> str:
    """What the dashed line is."""
    steps, losses = before.network.steps, before.network.losses
    return (
        f"Dashed: where a rehearsal of {steps} step{'s' if steps != 1 else ''} on the probe batch "
        f"ended, at a loss of {in_words(losses[-1], 3)}."
    )


def _bounds(limits: Thresholds) -> str:
    return f"lazy below {limits.lazy_below:g}, rich from {limits.rich_from:g}"


def _shares(verdict: Verdict, before: Forecast) -> str:
    """Each layer's share of the motion, and what its kernel was to do, beside what it did."""
    came = {layer.name: layer.evidence["layer_ntk_change"] for layer in verdict.layers}
    rows = [
        [
            f"<code>{escape(name or ITSELF)}</code>",
            f"{share.motion:.0%}" if isfinite(share.motion) else NOTHING,
            number(before.layer_ntk_change.get(name)),
            number(came.get(name)),
        ]
        for name, share in before.layers.items()
    ]
    head = ("layer", "share of ρ²", "forecast change of its NTK", "change of its NTK")
    return "<p></p>" + html_table(head, rows)


def _grid(history: xr.Dataset, names: Iterable[str], draw: Callable[[str, Axes], object]) -> str:
    """A picture for each layer that has numbers, all on one scale."""
    known = history[list(names)].to_array().notnull().any(("variable", "step"))
    shown = [str(name) for name in history.layer.values[known.values]]
    made = [plot.figure(width=SMALL[0], height=SMALL[1]) for _ in shown[:MOST_PICTURES]]
    for layer, figure in zip(shown, made, strict=False):
        draw(layer, figure.axes[0])
        figure.axes[0].legend().remove()
    limits = np.array([figure.axes[0].get_ylim() for figure in made])
    parts = []
    for layer, figure in zip(shown, made, strict=False):
        figure.axes[0].set_ylim(limits[:, 0].min(), limits[:, 1].max())
        parts.append(f"<figure>{drawing(figure, f'Layer {layer} over the steps')}</figure>")
    left = len(shown) - len(made)
    more = f"<p class='quiet'>{left} more layers are in the table alone.</p>" if left else ""
    return f'<div class="grid small">{"".join(parts)}</div>{more}'


def _figure(draw: Callable[[Axes], object], size: tuple[float, float], below: str, alt: str) -> str:
    made = plot.figure(width=size[0], height=size[1])
    draw(made.axes[0])
    return f"<figure>{drawing(made, alt)}<figcaption>{escape(below)}</figcaption></figure>"


def _ends(history: xr.Dataset, name: str) -> str:
    if name not in history:
        return NOTHING
    return f"{number(float(history[name][0]))} → {number(float(history[name][-1]))}"


def _interval(verdict: Verdict) -> str:
    low, high = verdict.interval
    if not (isfinite(low) and isfinite(high)):
        return "of its size, since the start"
    return f"95 % interval {number(low)} to {number(high)}"


def _with_interval(value: float, low: float, high: float) -> str:
    if not (isfinite(low) and isfinite(high)):
        return number(value)
    return f'{number(value)} <span class="when quiet">({number(low)} to {number(high)})</span>'


def _rho(before: Forecast) -> str:
    return _foretold(before.richness, before.richness_stderr)


def _foretold_change(before: Forecast | None) -> str:
    if before is None:
        return NOTHING
    return _foretold(before.predicted_ntk_change, before.predicted_ntk_change_stderr)


def _certificate(before: Forecast) -> str:
    return f"{before.certificate} ({number(before.linearisation_gap)})"


def _foretold(value: float, error: float) -> str:
    return with_error(value, error) if isfinite(value) else NOTHING

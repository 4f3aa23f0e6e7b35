"""Lazy, rich, frozen, unstable, or cannot tell: a history put into words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite, isnan, nan

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.numerics.windows import Window, windows
from lazyrich.observables.catalogue import quantities
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedRegime, Regime

QUANTITIES = (
    Quantity(
        name="loss_ratio",
        symbol="L/L₀",
        meaning="loss in terms of its initial value",
        source=DERIVED,
    ),
)


_FEW_SAMPLES = 8
_WORDS = {  # columns of the table that are no numbers
    "regime": {"long_name": "regime of the layer"},
    "mechanisms": {"long_name": "mechanisms that acted"},
}


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where one regime ends and the next begins; every number may be changed.

    Attributes:
        rich_from: relative change of the NTK, ‖ΔΘ‖/‖Θ₀‖, from which training is rich. On the
            solvable two-layer network 0.1 belongs to the order parameter F = 0.92, the edge of
            its feature-learning phase.
        turned_from: kernel distance, 1 − cos(Θ₀, Θ), from which the kernel is said to have turned
            and not only grown or shrunk. It names the kind of richness and decides nothing.
        frozen_below: change of the output, in units of the distance to the fit, below
            which nothing was learned (and nothing counts as lazy).
        unstable_above: ratio of the last to the first loss above which training is unstable.
        alignment: total rise or fall of a layer's alignment A from which it aligns or disaligns.
        rescaling: total variation of ln‖W‖ from which a layer rescales.

    Raises:
        InputError: a threshold that is not a positive number.
    """

    rich_from: float = 0.1
    turned_from: float = 0.05
    frozen_below: float = 0.05
    unstable_above: float = 2.0
    alignment: float = 0.1
    rescaling: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise InputError(f"`{field.name}` must be a positive number, got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class LayerVerdict:
    """What one layer did.

    Attributes:
        name: its path in `named_modules()`.
        regime: of its own part of the NTK; rich only if that part changed, and by enough of the
            whole: `rich_from` divided by the number of layers, undivided in a lazy network.
        sentence: the same in words.
        layer_log_alignment: Δln A, its part in the change of ln‖f‖ by alignment with its data.
        layer_log_rescaling: Δln‖W‖, its part by growth of its weight.
        nfa: correlation of WᵀW with the average gradient outer product; NaN for the readout.
        cnfa: the same for W − W₀.
        mechanisms: those that acted, and when.
        evidence: the numbers behind the regime.
    """

    name: str
    regime: JudgedRegime
    sentence: str
    layer_log_alignment: float
    layer_log_rescaling: float
    nfa: float
    cnfa: float
    mechanisms: tuple[Window, ...]
    evidence: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What training did to the features. `print` it.

    Attributes:
        regime: of the network.
        sentence: the same in words.
        evidence: the numbers behind the regime.
        interval: 95 % interval of the NTK's relative change, for many samples.
        layers: one verdict a layer, in forward order.
        thresholds: that were used.
        notes: what else one has to know, in sentences.
    """

    regime: JudgedRegime
    sentence: str
    evidence: Mapping[str, float]
    interval: tuple[float, float]
    layers: tuple[LayerVerdict, ...]
    thresholds: Thresholds
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.regime.capitalize()}. {self.sentence}"]
        margin = max((len(layer.name) for layer in self.layers), default=0)
        lines += [f"  {layer.name:<{margin}}  {layer.sentence}" for layer in self.layers]
        return "\n".join([*lines, *self.notes])

    def table(self) -> xr.Dataset:
        """The layers as a table over `layer`.

        Returns:
            `regime`, `layer_log_alignment`, `layer_log_rescaling`, `nfa`, `cnfa`,
            `layer_ntk_change`, and the `mechanisms` that acted, in words.
        """
        columns = {
            "regime": [layer.regime for layer in self.layers],
            "layer_log_alignment": [layer.layer_log_alignment for layer in self.layers],
            "layer_log_rescaling": [layer.layer_log_rescaling for layer in self.layers],
            "nfa": [layer.nfa for layer in self.layers],
            "cnfa": [layer.cnfa for layer in self.layers],
            "layer_ntk_change": [layer.evidence["layer_ntk_change"] for layer in self.layers],
            "mechanisms": [
                ", ".join(window.mechanism for window in layer.mechanisms) for layer in self.layers
            ],
        }
        known = quantities()
        attrs = {name: known[name].attrs for name in columns if name in known} | _WORDS
        return xr.Dataset(
            {name: ("layer", values, attrs.get(name, {})) for name, values in columns.items()},
            coords={"layer": [layer.name for layer in self.layers]},
        )


def judge(history: xr.Dataset, thresholds: Thresholds | None = None) -> Verdict:
    """Judge a history, fresh or loaded from a file.

    Unstable: the loss is NaN or grew by more than `unstable_above`. Frozen: the output hardly
    moved and the kernel stayed. Rich or lazy: the interval of ‖ΔΘ‖/‖Θ₀‖ lies on one
    side of `rich_from`; if it holds the threshold, nobody can tell from these samples.

    Args:
        history: of a probe, with at least the variables `loss` and `ntk_change`.
        thresholds: None for those that the history was made with, or the default ones.

    Returns:
        The verdict at the last step measured.
    """
    limits = thresholds or _recorded(history)
    evidence = _evidence(history)
    low, high = evidence["ntk_change_low"], evidence["ntk_change_high"]
    regime, sentence = _network(evidence, limits, measured=history.sizes["step"])
    layers = tuple(_layer(history, i, regime, limits) for i in range(history.sizes["layer"]))
    return Verdict(
        regime=regime,
        sentence=sentence,
        evidence=evidence,
        interval=(low, high),
        layers=layers,
        thresholds=limits,
        notes=_notes(history),
    )


def _recorded(history: xr.Dataset) -> Thresholds:
    setting = json.loads(history.attrs.get("setting", "{}"))
    return Thresholds(**setting.get("thresholds", {}))


def last_finite(history: xr.Dataset, name: str) -> float:
    """The last value of a variable that is a number; NaN where there is none."""
    if name not in history:
        return nan
    values = history[name].values
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else nan


def _with_ends(history: xr.Dataset, name: str) -> dict[str, float]:
    """The last value that is a number, and the ends of its interval at that step."""
    known = np.isfinite(history[name].values) if name in history else np.array([], dtype=bool)
    last = history.isel(step=int(np.flatnonzero(known)[-1])) if known.any() else {}
    names = (name, f"{name}_low", f"{name}_high")
    return {key: float(last[key]) if key in last else nan for key in names}


def _evidence(history: xr.Dataset) -> dict[str, float]:
    names = (
        "kernel_distance",
        "ntk_trace_ratio",
        "linearisation_error",
        "output_change",
    )
    evidence = _with_ends(history, "ntk_change")
    evidence |= {name: last_finite(history, name) for name in names}
    loss = history["loss"].values if "loss" in history else np.array([nan])
    finite = loss[0] != 0
    evidence["loss_ratio"] = float(loss[-1] / loss[0]) if finite else nan
    evidence["diverged"] = float(not np.isfinite(loss).all())
    return evidence


def _network(
    evidence: Mapping[str, float], limits: Thresholds, *, measured: int
) -> tuple[JudgedRegime, str]:
    change, low, high = (evidence[f"ntk_change{end}"] for end in ("", "_low", "_high"))
    ratio = evidence["loss_ratio"]
    if measured and evidence["diverged"]:
        return Regime.UNSTABLE, "The loss is no longer a finite number: training diverged."
    if ratio > limits.unstable_above:
        return Regime.UNSTABLE, (
            f"The loss grew to {ratio:.3g} times its first value. Lower the learning rate; or, if "
            "these samples are not trained on, the network is overfitting."
        )
    if measured < 2:
        return CANNOT_TELL, "Only one measurement was made: measure again after training."
    if not isfinite(change):
        return CANNOT_TELL, "The kernel was not measured, or was zero at the start."
    if isnan(low):
        return CANNOT_TELL, (
            f"In training the tangent kernel changed by {_plain(change)} of its size, without an "
            "interval: one sample gives none. Measure on more samples."
        )
    spread = (
        f"the tangent kernel changed by {_plain(change)} of its size "
        f"({_plain(low)} to {_plain(high)})"
    )
    if evidence["output_change"] < limits.frozen_below and high < limits.rich_from:
        return Regime.FROZEN, (
            f"The output moved {evidence['output_change']:.2g} of the distance to the fit: "
            "it trained too little, or too slowly, to say more."
        )
    if low >= limits.rich_from:
        turned = evidence["kernel_distance"] >= limits.turned_from
        kind = "and turned: features were learned" if turned else "mostly in size, not direction"
        return Regime.RICH, f"In training {spread}, {kind}."
    if high < limits.rich_from:
        return Regime.LAZY, (
            f"In training {spread}: the network acts like its linearisation, features stayed."
        )
    return CANNOT_TELL, (
        f"In training {spread}, which holds the threshold {limits.rich_from:g}. Measure on more "
        "samples."
    )


def _layer(
    history: xr.Dataset, index: int, network: JudgedRegime, limits: Thresholds
) -> LayerVerdict:
    one = history.isel(layer=index)
    change, low, high = _with_ends(one, "layer_ntk_change").values()
    moved = last_finite(one, "weight_movement")
    acted = _acted(one, limits)
    share = last_finite(one, "layer_ntk_share")
    weight = share if isfinite(share) else 1.0  # unknown: by its own change alone
    # what a layer has to bring to the whole; some layer of a rich network does
    needed = limits.rich_from / (1 if network == Regime.LAZY else history.sizes["layer"])
    regime: JudgedRegime = CANNOT_TELL
    if network in (Regime.UNSTABLE, Regime.FROZEN):
        regime = network
    elif moved == 0:
        regime = Regime.FROZEN
    elif high < limits.rich_from or weight * high < needed:
        regime = Regime.LAZY
    elif low >= limits.rich_from and weight * low >= needed:
        regime = Regime.RICH
    return LayerVerdict(
        name=str(one.layer.item()),
        regime=regime,
        sentence=_layer_sentence(regime, share, (change, low, high), acted),
        layer_log_alignment=last_finite(one, "layer_log_alignment"),
        layer_log_rescaling=last_finite(one, "layer_log_rescaling"),
        nfa=last_finite(one, "nfa"),
        cnfa=last_finite(one, "cnfa"),
        mechanisms=acted,
        evidence={
            "layer_ntk_change": change,
            "layer_ntk_change_low": low,
            "layer_ntk_change_high": high,
            "layer_ntk_share": share,
            "weight_movement": moved,
        },
    )


def _acted(layer: xr.Dataset, limits: Thresholds) -> tuple[Window, ...]:
    if "parameter_data_alignment" not in layer:
        return ()
    return windows(
        layer.step.values.astype(float),
        layer.parameter_data_alignment.values,
        layer.layer_log_rescaling.values,
        alignment_threshold=limits.alignment,
        rescaling_threshold=limits.rescaling,
    )


def _layer_sentence(
    regime: JudgedRegime,
    share: float,
    changes: tuple[float, float, float],
    acting: tuple[Window, ...],
) -> str:
    change, low, high = changes
    acted = ", ".join(f"{w.mechanism} (steps {w.start:.0f} to {w.stop:.0f})" for w in acting)
    ending = f"; {acted}" if acted else "; no mechanism acted"
    if not isfinite(change):
        return f"{regime}{ending}."
    part = f", {share:.0%} of the kernel's norm," if isfinite(share) else ""
    return (
        f"{regime}: its tangent features{part} changed by {_plain(change)} "
        f"({_plain(low)} to {_plain(high)}){ending}."
    )


def _plain(number: float) -> str:
    """Two digits, or all of them before the point of a number that people read without powers."""
    return f"{number:.0f}" if 100 <= number < 1e5 else f"{number:.2g}"


def _notes(history: xr.Dataset) -> tuple[str, ...]:
    samples = int(history.attrs.get("samples", _FEW_SAMPLES))
    notes = [note for note in str(history.attrs.get("notes", "")).splitlines() if note]
    if samples < _FEW_SAMPLES:
        notes.append(f"Measured on {samples} samples: the interval is rough.")
    return tuple(notes)

"""Lazy, intermediate, rich, frozen, unstable, or cannot tell: a history put into words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.windows import Window, windows
from lazyrich.observables.catalogue import quantities
from lazyrich.probe import coverage, one_look, wording
from lazyrich.probe.advice import Findings, advice, what_now
from lazyrich.probe.thresholds import Thresholds, has_one_threshold
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedRegime, Regime, only

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
class LayerVerdict:
    """What one layer did: any module with parameters that train.

    Attributes:
        name: its path in `named_modules()`; "" for the model itself.
        regime: the regime of its own part of the NTK, by the thresholds of the network; lazy where
            that part brings too little to the whole, see `judge`.
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
        regime: the regime of the network.
        sentence: the same in words.
        evidence: the numbers behind the regime.
        interval: 95 % interval of the NTK's relative change, for many samples.
        layers: one verdict for each part of the kernel, nearly in forward order.
        thresholds: the thresholds that were used.
        notes: what else one has to know, in sentences.
        advice: what to do now, or that nothing has to be done; at most three sentences.
    """

    regime: JudgedRegime
    sentence: str
    evidence: Mapping[str, float]
    interval: tuple[float, float]
    layers: tuple[LayerVerdict, ...]
    thresholds: Thresholds
    notes: tuple[str, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.regime.capitalize()}. {self.sentence}"]
        names = [layer.name or wording.ITSELF for layer in self.layers]
        margin = max(map(len, names), default=0)
        lines += [
            f"  {name:<{margin}}  {layer.sentence}"
            for name, layer in zip(names, self.layers, strict=True)
        ]
        return "\n".join([*lines, *self.notes, *what_now(self.advice)])

    def __repr__(self) -> str:
        change, layers = self.evidence["ntk_change"], one_look.counted(len(self.layers), "layer")
        return one_look.one_line(
            "Verdict", self.regime, one_look.changed(change, *self.interval), layers
        )

    def _repr_html_(self) -> str:
        rows = [(layer.name or wording.ITSELF, layer.sentence) for layer in self.layers]
        head = ("layer", "what it did")
        below = " ".join([*self.notes, *what_now(self.advice)])
        return one_look.card(f"{self.regime.capitalize()}.", self.sentence, head, rows, below)

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

    Unstable: the loss is not finite or grew by more than `unstable_above`. Frozen: the output
    hardly moved and the kernel stayed, or nothing that was measured moved at all. Else lazy,
    intermediate or rich, as the interval of ‖ΔΘ‖/‖Θ₀‖ lies below `lazy_below`, between, or from
    `rich_from` on; if it holds a threshold, nobody can tell from these samples, nor from a single
    measurement.

    A layer is judged likewise, by its own ‖ΔΘ_l‖/‖Θ_l,0‖. A large change of a small part is none of
    the whole: a layer is lazy where ‖ΔΘ_l‖/‖Θ₀‖ is below `lazy_below` divided by the number of
    layers, for were all layers so, the network would be lazy; undivided in a network that is.

    Args:
        history: the history of a probe, with at least the variables `loss` and `ntk_change`.
        thresholds: None for those that the history was made with, or the default ones.

    Returns:
        The verdict at the last step measured.

    Raises:
        InputError: it is no history.
    """
    if not {"step", "layer"} <= history.coords.keys():
        raise InputError(
            "`history` must be that of a probe, with the coordinates step and layer, got "
            f"{', '.join(map(str, history.coords)) or 'none'}. Pass `probe.history`, or what "
            "`probe.save` has written."
        )
    recorded = _recorded(history) if thresholds is None else {}
    limits = thresholds or Thresholds.recorded(recorded)
    evidence = _evidence(history)
    regime, sentence = _network(history, evidence, limits)
    layers = tuple(_layer(history, i, regime, limits) for i in range(history.sizes["layer"]))
    notes = _notes(history)
    if has_one_threshold(recorded):
        notes += (wording.one_threshold(limits.lazy_below, limits.rich_from),)
    found = Findings(
        history=history,
        regime=regime,
        evidence=evidence,
        layers={layer.name: layer.regime for layer in layers},
        limits=limits,
    )
    return Verdict(
        regime=regime,
        sentence=sentence,
        evidence=evidence,
        interval=(evidence["ntk_change_low"], evidence["ntk_change_high"]),
        layers=layers,
        thresholds=limits,
        notes=notes,
        advice=advice(found),
    )


def _recorded(history: xr.Dataset) -> dict[str, float]:
    """The thresholds that a history was saved with, as they were written."""
    setting = history.attrs.get("setting", "{}")
    try:
        found = json.loads(setting).get("thresholds", {})
        Thresholds.recorded(found)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"the attribute `setting` of a history must be as the probe wrote it, got "
            f"{str(setting)[:80]!r}. Pass `thresholds` to judge it all the same."
        ) from error
    return dict(found)


def _evidence(history: xr.Dataset) -> dict[str, float]:
    names = (
        "ntk_change",
        "ntk_change_low",
        "ntk_change_high",
        "kernel_distance",
        "centred_kernel_distance",
        "centred_kernel_distance_stderr",
        "ntk_trace_ratio",
        "linearisation_error",
        "output_change",
    )
    last = last_finite(history)
    evidence = {name: _value(last, name) for name in names}
    loss = history["loss"].values if "loss" in history else np.array([])
    ends = loss[[0, -1]] if loss.size else [nan, nan]
    positive = 0 < ends[0] < inf  # what is not has no multiples to grow by
    evidence["loss_ratio"] = float(ends[1] / ends[0]) if positive else nan
    evidence["diverged"] = float(_not_finite(history).any())
    return evidence


def _not_finite(history: xr.Dataset) -> NDArray[np.bool_]:
    """At which measurements the network was not finite.

    Its loss is not, then. Where the loss is not among the observables, nothing else is there.
    """
    if "loss" not in history:
        return np.zeros(history.sizes["step"], dtype=bool)
    loss: NDArray[np.float64] = history["loss"].values
    if np.isfinite(loss).any():
        return ~np.isfinite(loss)
    others = history.drop_vars("loss").data_vars.values()
    seen = [part.notnull().any(set(part.dims) - {"step"}).values for part in others]
    return np.isinf(loss) | ~np.any(seen, axis=0) if seen else np.ones(len(loss), dtype=bool)


def last_finite(history: xr.Dataset) -> xr.Dataset:
    """The last measurement of a finite network, or of any; without one, as it is."""
    if not history.sizes["step"]:
        return history
    (finite,) = np.nonzero(~_not_finite(history))
    return history.isel(step=finite[-1] if finite.size else -1)


def _value(row: xr.Dataset, name: str) -> float:
    """A number of a measurement; NaN where it was not measured, or is not finite."""
    value = float(row[name]) if name in row and row[name].size else nan
    return value if isfinite(value) else nan


def _network(
    history: xr.Dataset, evidence: Mapping[str, float], limits: Thresholds
) -> tuple[JudgedRegime, str]:
    regime, sentence = _by_the_kernel(history, evidence, limits)
    missed = evidence["linearisation_error"]
    if evidence["output_change"] < wording.NOTHING:
        missed = nan  # of a change that is rounding
    told = wording.linearised(missed, regime, while_finite=bool(evidence["diverged"]))
    return regime, wording.joined(sentence, told)


def _by_the_kernel(
    history: xr.Dataset, evidence: Mapping[str, float], limits: Thresholds
) -> tuple[JudgedRegime, str]:
    if evidence["diverged"]:
        return Regime.UNSTABLE, wording.diverged(history.step.values, _not_finite(history))
    if evidence["loss_ratio"] > limits.unstable_above:
        return Regime.UNSTABLE, wording.grown(evidence["loss_ratio"])
    if history.sizes["step"] < 2:
        return CANNOT_TELL, wording.measured(history.sizes["step"])
    if _stood_still(history, evidence):
        return Regime.FROZEN, wording.STILL
    change, low, high = (evidence[f"ntk_change{end}"] for end in ("", "_low", "_high"))
    if not isfinite(change):
        return CANNOT_TELL, wording.no_kernel(history)
    if not (isfinite(low) and isfinite(high)):
        return CANNOT_TELL, f"{wording.reached(history)} {wording.no_interval(change)}"
    spread = f"{wording.reached(history)} {wording.spread(change, low, high, limits)}"
    if limits.is_frozen(high, evidence["output_change"], evidence["loss_ratio"]):
        little = wording.frozen(evidence["output_change"], high)
        return Regime.FROZEN, f"{wording.reached(history)} {little}"
    may_be = limits.regimes(low, high)
    regime = only(may_be)
    if regime == CANNOT_TELL:
        return CANNOT_TELL, f"{spread}, {wording.between(may_be, limits)}. Measure on more samples."
    if regime == Regime.LAZY:
        return Regime.LAZY, f"{spread}: by the kernel, features stayed."
    return regime, f"{spread}, {wording.turned(history, evidence, limits.turned_from, regime)}."


def _stood_still(history: xr.Dataset, evidence: Mapping[str, float]) -> bool:
    """Whether all that was measured of how far training went is nothing."""
    moved = [evidence[name] for name in ("ntk_change_high", "ntk_change", "output_change")]
    moved.append(abs(evidence["loss_ratio"] - 1))
    if "weight_movement" in history:
        moved += history.weight_movement.values[-1].tolist()
    known = [value for value in moved if isfinite(value)]
    return bool(known) and max(known) < wording.NOTHING


def _layer(
    history: xr.Dataset, index: int, network: JudgedRegime, limits: Thresholds
) -> LayerVerdict:
    one = history.isel(layer=index)
    last = last_finite(history).isel(layer=index)
    names = ("layer_ntk_change", "layer_ntk_change_low", "layer_ntk_change_high")
    change, low, high = (_value(last, name) for name in names)
    moved = _value(last, "weight_movement")
    acted = _acted(one, limits)
    share = _value(last, "layer_ntk_share")
    own = limits.regimes(low, high)
    may_be = _weighed(own, (low, high), share, _needed(history, network, limits))
    regime: JudgedRegime = only(may_be)
    if network in (Regime.UNSTABLE, Regime.FROZEN):
        regime = network
    elif history.sizes["step"] < 2:  # nothing can have moved yet
        regime, may_be = CANNOT_TELL, ()
    elif moved == 0:
        regime = Regime.FROZEN
    return LayerVerdict(
        name=str(one.layer.item()),
        regime=regime,
        sentence=wording.layer(
            regime,
            () if regime != CANNOT_TELL else may_be,
            share,
            (change, low, high),
            acted,
            limits,
            too_small=regime == Regime.LAZY != only(own),
        ),
        layer_log_alignment=_value(last, "layer_log_alignment"),
        layer_log_rescaling=_value(last, "layer_log_rescaling"),
        nfa=_value(last, "nfa"),
        cnfa=_value(last, "cnfa"),
        mechanisms=acted or (),
        evidence={
            **dict(zip(names, (change, low, high), strict=True)),
            "layer_ntk_share": share,
            "weight_movement": moved,
        },
    )


def _needed(history: xr.Dataset, network: JudgedRegime, limits: Thresholds) -> float:
    """How far a layer has to change the whole kernel, ‖ΔΘ_l‖/‖Θ₀‖, to be more than lazy."""
    return limits.lazy_below / (1 if network == Regime.LAZY else history.sizes["layer"])


def _weighed(
    own: tuple[Regime, ...], change: tuple[float, float], share: float, needed: float
) -> tuple[Regime, ...]:
    """What a layer may be by its own change, if that is enough of the whole to matter."""
    if not (own and isfinite(share)):
        return own  # of an unknown part: by its own change alone
    low, high = (share * end for end in change)
    if high < needed:
        return (Regime.LAZY,)
    return own if low >= needed else tuple(dict.fromkeys((Regime.LAZY, *own)))


def _acted(layer: xr.Dataset, limits: Thresholds) -> tuple[Window, ...] | None:
    """The mechanisms that acted; None where that was not measured."""
    alignment = "parameter_data_alignment"
    if alignment not in layer or layer.sizes["step"] < 2 or not layer[alignment].notnull().any():
        return None
    return windows(
        layer.step.values.astype(float),
        layer.parameter_data_alignment.values,
        layer.layer_log_rescaling.values,
        alignment_threshold=limits.alignment,
        rescaling_threshold=limits.rescaling,
    )


def _notes(history: xr.Dataset) -> tuple[str, ...]:
    samples = int(history.attrs.get("samples", _FEW_SAMPLES))
    notes = [note for note in str(history.attrs.get("notes", "")).splitlines() if note]
    if samples < _FEW_SAMPLES:
        counted = "1 sample" if samples == 1 else f"{samples} samples"
        rough = "the interval is rough" if samples > 1 else "there is no interval"
        notes.append(f"Measured on {counted}: {rough}.")
    skipped = str(history.attrs.get("skipped", "")).splitlines()
    share = float(history.attrs.get("studied", nan))
    return (*notes, *coverage.sentences(share, skipped))

"""Lazy, rich, frozen, unstable, or cannot tell: a history put into words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf, isfinite, nan

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.windows import Window, windows
from lazyrich.observables.catalogue import quantities
from lazyrich.probe import wording
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

    Unstable: the loss is not finite or grew by more than `unstable_above`. Frozen: the output
    hardly moved and the kernel stayed, or nothing that was measured moved at all. Rich or lazy: the
    interval of ‖ΔΘ‖/‖Θ₀‖ lies on one side of `rich_from`; if it holds the threshold,
    nobody can tell from these samples, nor from a single measurement.

    Args:
        history: of a probe, with at least the variables `loss` and `ntk_change`.
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
    limits = thresholds or _recorded(history)
    evidence = _evidence(history)
    regime, sentence = _network(history, evidence, limits)
    layers = tuple(_layer(history, i, regime, limits) for i in range(history.sizes["layer"]))
    return Verdict(
        regime=regime,
        sentence=sentence,
        evidence=evidence,
        interval=(evidence["ntk_change_low"], evidence["ntk_change_high"]),
        layers=layers,
        thresholds=limits,
        notes=_notes(history),
    )


def _recorded(history: xr.Dataset) -> Thresholds:
    setting = history.attrs.get("setting", "{}")
    try:
        return Thresholds(**json.loads(setting).get("thresholds", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"the attribute `setting` of a history must be as the probe wrote it, got "
            f"{str(setting)[:80]!r}. Pass `thresholds` to judge it all the same."
        ) from error


def _evidence(history: xr.Dataset) -> dict[str, float]:
    names = (
        "ntk_change",
        "ntk_change_low",
        "ntk_change_high",
        "kernel_distance",
        "ntk_trace_ratio",
        "linearisation_error",
        "output_change",
    )
    last = _last(history)
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


def _last(history: xr.Dataset) -> xr.Dataset:
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
        return CANNOT_TELL, wording.no_interval(change)
    spread = wording.spread(change, low, high)
    if evidence["output_change"] < limits.frozen_below and high < limits.rich_from:
        return Regime.FROZEN, wording.frozen(evidence["output_change"], high)
    if low >= limits.rich_from:
        return Regime.RICH, f"In training {spread}, {wording.turned(evidence, limits.turned_from)}."
    if high < limits.rich_from:
        return Regime.LAZY, f"In training {spread}: {wording.linear(evidence)}."
    return CANNOT_TELL, (
        f"In training {spread}, which holds the threshold {limits.rich_from:g}. Measure on more "
        "samples."
    )


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
    last = _last(history).isel(layer=index)
    names = ("layer_ntk_change", "layer_ntk_change_low", "layer_ntk_change_high")
    change, low, high = (_value(last, name) for name in names)
    moved = _value(last, "weight_movement")
    acted = _acted(one, limits)
    share = _value(last, "layer_ntk_share")
    weight = share if isfinite(share) else 1.0  # unknown: by its own change alone
    # what a layer has to bring to the whole; some layer of a rich network does
    needed = limits.rich_from / (1 if network == Regime.LAZY else history.sizes["layer"])
    regime: JudgedRegime = CANNOT_TELL
    if network in (Regime.UNSTABLE, Regime.FROZEN):
        regime = network
    elif history.sizes["step"] < 2:
        pass  # nothing can have moved yet
    elif moved == 0:
        regime = Regime.FROZEN
    elif high < limits.rich_from or weight * high < needed:
        regime = Regime.LAZY
    elif low >= limits.rich_from and weight * low >= needed:
        regime = Regime.RICH
    return LayerVerdict(
        name=str(one.layer.item()),
        regime=regime,
        sentence=wording.layer(regime, share, (change, low, high), acted),
        layer_log_alignment=_value(last, "layer_log_alignment"),
        layer_log_rescaling=_value(last, "layer_log_rescaling"),
        nfa=_value(last, "nfa"),
        cnfa=_value(last, "cnfa"),
        mechanisms=acted or (),
        evidence={
            "layer_ntk_change": change,
            "layer_ntk_change_low": low,
            "layer_ntk_change_high": high,
            "layer_ntk_share": share,
            "weight_movement": moved,
        },
    )


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
    return tuple(notes)

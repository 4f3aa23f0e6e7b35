"""The sentences about two runs side by side: each is a claim, and holds wherever it is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite, isnan, nan
from typing import Any, Protocol, runtime_checkable

import xarray as xr

from lazyrich.probe import wording
from lazyrich.probe.agreement import AGREES_TO
from lazyrich.probe.contrast import Contrast, Difference, Reading
from lazyrich.probe.verdict import Verdict
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedRegime

TITLES = {  # of what a history says of its setting
    "model": "network",
    "parameters": "number of parameters",
    "trainable": "number of trainable parameters",
    "batch": "shapes of inputs and targets",
    "samples": "number of measured samples",
    "outputs": "number of outputs",
    "directions": "output directions",
    "mode": "mode",
    "learning_rates": "learning rates in the kernel",
    "versions": "versions",
    "thresholds": "thresholds",
}
TOLD = ("ntk_change", "loss", "layer_ntk_change")  # in sentences of their own
NULL = "_null"  # what chance alone would give: no news
MOST = 8  # of a list


@runtime_checkable
class Pair(Protocol):
    """What is told: see `lazyrich.probe.Compared`."""

    @property
    def names(self) -> tuple[str, str]:
        """What the runs are called."""

    @property
    def verdicts(self) -> tuple[Verdict, Verdict]:
        """Of either."""

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Every quantity of both."""

    @property
    def histories(self) -> tuple[xr.Dataset, xr.Dataset]:
        """Of either."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of either."""

    def regimes(self, layer: str) -> tuple[JudgedRegime | None, JudgedRegime | None]:
        """What a layer was in either."""

    def of(self, quantity: str, layer: str | None = None) -> Contrast:
        """One quantity of both."""


def headline(of: Pair) -> str:
    """Both regimes, the change of the kernel, and the losses."""
    (first, second), (a, b) = (v.regime for v in of.verdicts), of.names
    word = f"{first.capitalize()} ({a}), {second} ({b})"
    if first == second:
        word = "Cannot tell for either" if first == CANNOT_TELL else f"Both {first}"
    return wording.joined(f"{word}.", _kernel(of), _losses(of))


def _kernel(of: Pair) -> str:
    for name, verdict in zip(of.names, of.verdicts, strict=True):
        if not isfinite(verdict.evidence["ntk_change"]):
            return f"The change of the tangent kernel is not known for {name}."
    (a, b), found = of.names, of.of("ntk_change")
    assert found.first is not None  # both are known
    assert found.second is not None
    first, second = (
        _with_interval(reading, verdict)
        for reading, verdict in zip((found.first, found.second), of.verdicts, strict=True)
    )
    return (
        f"The tangent kernel changed by {first} of its size in {a}, by {second} in {b}: "
        f"{told(found.difference, b)}."
    )


def told(difference: Difference, second: str) -> str:
    """What a difference is called, as the end of a sentence.

    Args:
        difference: the difference that is told.
        second: what the second run is called.
    """
    if difference == Difference.CANNOT_TELL:
        return f"{CANNOT_TELL}, for want of an interval"
    return difference if difference == Difference.NONE_SEEN else f"{difference} in {second}"


def _with_interval(reading: Reading, verdict: Verdict) -> str:
    """A change of a kernel with its interval, in digits that do not read as a threshold."""
    value, low, high = (
        wording.beside(x, verdict.thresholds) for x in (reading.value, reading.low, reading.high)
    )
    return value if isnan(reading.low) else f"{value} ({low} to {high})"


def _losses(of: Pair) -> str:
    ends = [wording.ends(history) for history in of.histories]
    said = [_loss(*pair, name) for pair, name in zip(ends, of.names, strict=True)]
    units = {_loss_name(history) for history in of.histories}
    if len(units) > 1:
        return f"Loss: {'; '.join(said)}. These are different losses and cannot be compared."
    left = [_left(*pair) for pair in ends]
    horizon = ""
    if all(map(isfinite, left)) and max(left) > AGREES_TO * min(left):
        horizon = (
            "They come from different stretches of training: a difference may be one of how far it "
            "went."
        )
    return wording.joined(f"Loss, a number without an interval: {'; '.join(said)}.", horizon)


def _loss(first: float, last: float, name: str) -> str:
    if isnan(first) and isnan(last):
        return f"not known in {name}"
    start, end = (in_words(x, 3) if isfinite(x) else "not finite" for x in (first, last))
    return f"{start} → {end} in {name}"


def _loss_name(history: xr.Dataset) -> str:
    return str(_setting(history).get("loss", ""))


def _left(first: float, last: float) -> float:
    """The share of a loss that is left; NaN where it has no multiples."""
    return last / first if first > 0 and last >= 0 and isfinite(last) else nan


def layers(of: Pair) -> list[str]:
    """A line for each layer: its two words, and the change of its part of the kernel."""
    names = {layer: layer or wording.ITSELF for layer in of.layers}
    margin = max(map(len, names.values()), default=0)
    return [f"  {name:<{margin}}  {_layer(of, layer)}" for layer, name in names.items()]


def _layer(of: Pair, layer: str) -> str:
    first, second = of.regimes(layer)
    if first is None or second is None:
        alone = (of.names[1], second) if first is None else (of.names[0], first)
        return f"only in {alone[0]}, where it is {alone[1]}."
    word = f"{first} in both" if first == second else f"{first}, then {second}"
    found = next(
        (c for c in of.contrasts if (c.quantity, c.layer) == ("layer_ntk_change", layer)), None
    )
    if found is None or found.first is None or found.second is None:
        return f"{word}."
    changes = (
        _with_interval(reading, verdict)
        for reading, verdict in zip((found.first, found.second), of.verdicts, strict=True)
    )
    return (
        f"{word}: its tangent features changed by {', then '.join(changes)}: "
        f"{told(found.difference, of.names[1])}."
    )


def others(of: Pair) -> list[str]:
    """All else that is different, and how much is not."""
    rest = [c for c in of.contrasts if not c.quantity.endswith(NULL) and c.quantity not in TOLD]
    both = [c for c in rest if c.first is not None and c.second is not None]
    count = {kind: [c for c in both if c.difference == kind] for kind in Difference}
    lines = [
        f"{kind.capitalize()} in {of.names[1]}: {_listed([_place(c) for c in count[kind]])}."
        for kind in (Difference.MORE, Difference.LESS)
        if count[kind]
    ]
    same, open_ = len(count[Difference.NONE_SEEN]), len(count[Difference.CANNOT_TELL])
    if same:
        lines.append(f"No difference was seen in {same} other number{'s' * (same > 1)}.")
    if open_:
        lines.append(
            f"{open_} number{'s' * (open_ > 1)} without an interval stand{'s' * (open_ == 1)} side "
            "by side in the table, and nothing is concluded from them."
        )
    return lines


def _place(of: Contrast) -> str:
    assert of.first is not None  # of both, as `others` sees to
    assert of.second is not None
    where = "" if of.layer is None else f" of {of.layer or wording.ITSELF}"
    first, second = (in_words(reading.value) for reading in (of.first, of.second))
    return f"{of.quantity}{where} ({first}, then {second})"


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - MOST
    return "; ".join(texts[:MOST]) + (f"; and {more} more, see the table" if more > 0 else "")


def notes(
    histories: tuple[xr.Dataset, xr.Dataset],
    verdicts: tuple[Verdict, Verdict],
    names: tuple[str, str],
) -> tuple[str, ...]:
    """How two runs were measured differently, and what only one of them has.

    Args:
        histories: histories of both runs.
        verdicts: verdicts of both runs.
        names: names of both runs.
    """
    settings = [_setting(history) for history in histories]
    sentences = [
        _unlike(key, settings, names)
        for key in dict.fromkeys((*settings[0], *settings[1]))
        if settings[0].get(key) != settings[1].get(key)
    ]
    for what, kept in (
        ("layer", [[str(one) or wording.ITSELF for one in h.layer.values] for h in histories]),
        ("number", [[str(one) for one in h.data_vars] for h in histories]),
    ):
        sentences += [
            f"Only {names[mine]} has the {what}{'s' * (len(lacking) > 1)} {_named(lacking)}."
            for mine, other in ((0, 1), (1, 0))
            if (lacking := [one for one in kept[mine] if one not in kept[other]])
        ]
    for history, verdict, name in zip(histories, verdicts, names, strict=True):
        if history.sizes["step"] < 2:
            sentences.append(f"There is no change of {name} to compare: measure it after training.")
        elif verdict.evidence["diverged"]:
            sentences.append(f"The numbers of {name} are those of its last finite measurement.")
    return (*sentences, *_of_either(verdicts, names))


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")


def _of_either(verdicts: Sequence[Verdict], names: Sequence[str]) -> list[str]:
    """The notes of the verdicts, said once where they are the same."""
    first, second = (verdict.notes for verdict in verdicts)
    both = [note for note in first if note in second]
    alone = [
        f"{note} ({name})"
        for name, own in zip(names, (first, second), strict=True)
        for note in own
        if note not in both
    ]
    return [*both, *alone]


def _unlike(key: str, settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """That two settings are not the same; of a group, only what is not."""
    title = TITLES.get(key, key.replace("_", " "))
    values = [setting.get(key) for setting in settings]
    for mine, other in ((0, 1), (1, 0)):
        if key not in settings[other]:
            return f"Only {names[mine]} says its {title}: {_value(values[mine])}."
    verb = "are" if title.endswith("s") and not title.startswith("number") else "is"
    first, second = map(_value, _different(*values))
    return f"The {title} {verb} not the same: {first} in {names[0]}, {second} in {names[1]}."


def _different(first: Any, second: Any) -> tuple[Any, Any]:  # noqa: ANN401 - of a JSON text
    """Two values; of two groups, only the parts that are not the same."""
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return first, second
    parts = [key for key in {**first, **second} if first.get(key) != second.get(key)][:MOST]
    mine, other = ({key: of[key] for key in parts if key in of} for of in (first, second))
    return mine, other


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return " and ".join(map(_value, value))
    if isinstance(value, float | int) and not isinstance(value, bool):
        return in_words(value, 4)
    return str(value)


def _setting(history: xr.Dataset) -> dict[str, Any]:
    """What a history says of how it was made; nothing where it does not."""
    return dict(json.loads(history.attrs.get("setting", "{}")))

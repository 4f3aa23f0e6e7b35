"""Two runs side by side: what is different, in which layer, and what nobody can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan

import xarray as xr
from scipy.special import stdtrit

from lazyrich._arguments import shown
from lazyrich._errors import InputError
from lazyrich.probe import contrast_words as words
from lazyrich.probe.contrast import Contrast, Reading
from lazyrich.probe.one_look import preformatted
from lazyrich.probe.probe import Probe
from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.verdict import Verdict, judge, last_finite
from lazyrich.vocabulary.regimes import JudgedRegime

LEVEL = 0.975  # of Student's t, for a 95 % interval from a standard error
ENDS = ("_low", "_high", "_stderr")
RUNS = ("the first run", "the second run")
# Their errors are those over random vectors, not over samples: 0 where they are exact.
WITHOUT_INTERVAL = frozenset({"centred_kernel_distance"})


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two runs side by side. `print` it.

    A difference is said to be one only where the intervals of the two runs have nothing in common.

    Attributes:
        names: what the runs are called.
        verdicts: verdicts of both runs.
        contrasts: every quantity that either has measured, of the network and of each layer.
        notes: how the two were measured differently, and what only one of them has, in sentences.
        histories: histories of both runs.
    """

    names: tuple[str, str]
    verdicts: tuple[Verdict, Verdict]
    contrasts: tuple[Contrast, ...]
    notes: tuple[str, ...]
    histories: tuple[xr.Dataset, xr.Dataset]

    def __str__(self) -> str:
        return "\n".join([self.sentence, *words.layers(self), *words.others(self), *self.notes])

    def __repr__(self) -> str:
        first, second = (verdict.regime for verdict in self.verdicts)
        return f"<Compared: {first} ({self.names[0]}) and {second} ({self.names[1]})>"

    _repr_html_ = preformatted

    @property
    def sentence(self) -> str:
        """Both regimes, the change of the kernel, and the loss, in words."""
        return words.headline(self)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that either run has, in the order of the first one."""
        return tuple(dict.fromkeys(one.name for v in self.verdicts for one in v.layers))

    def regimes(self, layer: str) -> tuple[JudgedRegime | None, JudgedRegime | None]:
        """What a layer was in either run; None where it has no such layer.

        Args:
            layer: its path.
        """
        first, second = ({one.name: one.regime for one in v.layers} for v in self.verdicts)
        return first.get(layer), second.get(layer)

    def of(self, quantity: str, layer: str | None = None) -> Contrast:
        """One quantity of both runs.

        Args:
            quantity: its name.
            layer: its path; None for the network.

        Raises:
            InputError: neither run has measured it there.
        """
        for one in self.contrasts:
            if (one.quantity, one.layer) == (quantity, layer):
                return one
        where = "the network" if layer is None else f"a layer {layer!r}"
        raise InputError(
            f"`quantity` must be one that a run has measured of {where}, got {quantity!r}. See "
            "`contrasts` for all."
        )

    def table(self) -> xr.Dataset:
        """Both last measurements of a finite network, over `run` and `layer`; NaN for what is not.

        Returns:
            Every variable of either history.
        """
        last = [last_finite(history) for history in self.histories]
        both = xr.concat(
            last, "run", join="outer", coords="all", compat="override", combine_attrs="drop"
        )
        for name in both.data_vars:
            both[name].attrs = next(one[name].attrs for one in last if name in one)
        return both.assign_coords(run=list(self.names)).sel(layer=list(self.layers))


def compare(
    first: Probe | xr.Dataset,
    second: Probe | xr.Dataset,
    *,
    names: tuple[str, str] = RUNS,
    thresholds: Thresholds | None = None,
) -> Compared:
    """Put two runs side by side, each at its last measurement.

    Of a quantity with an interval for many samples (`ntk_change` of network and layers; others from
    their standard error over samples, by Student's t), the second run has *more* or *less* where
    the two intervals have nothing in common; else there is *no difference seen*. Two 95 % intervals
    of one truth part by chance about once in 180 times where they are equally wide, and at most
    once in 20. What has no interval stands side by side, and nothing is said of it.

    Args:
        first: a probe, or its history, fresh or loaded from a file.
        second: another one; network, batch and layers may differ.
        names: what the runs are called.
        thresholds: None for those that each was made with.

    Returns:
        What is different. `print` it.

    Raises:
        InputError: what is no probe and no history, or names that are no two different texts.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> def grown(by):
        ...     model = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Linear(64, 1))
        ...     probe = Probe(model, (x, x[:, :1]))
        ...     probe.measure(0)
        ...     torch.nn.utils.vector_to_parameters(
        ...         by * torch.nn.utils.parameters_to_vector(model.parameters()), model.parameters()
        ...     )
        ...     probe.measure(1)
        ...     return probe
        >>> x = torch.randn(32, 3)
        >>> compare(grown(1.01), grown(2.0)).of("ntk_change").difference
        'more'
    """
    _refuse_names(names)
    histories = _history(first, "first"), _history(second, "second")
    verdicts = judge(histories[0], thresholds), judge(histories[1], thresholds)
    return Compared(
        names=(names[0], names[1]),
        verdicts=verdicts,
        contrasts=tuple(_contrasts(*map(_readings, histories))),
        notes=words.notes(histories, verdicts, (names[0], names[1])),
        histories=histories,
    )


def _refuse_names(names: object) -> None:
    two = isinstance(names, tuple | list) and len(names) == 2 and names[0] != names[1]
    if not two or not all(isinstance(name, str) and name for name in names):  # type: ignore[attr-defined]
        raise InputError(
            f"`names` must be two different texts, got {shown(names)}. Say what the runs are "
            "called."
        )


def _history(run: object, which: str) -> xr.Dataset:
    if isinstance(run, Probe):
        return run.history
    if not isinstance(run, xr.Dataset):
        raise InputError(
            f"`{which}` must be a probe or its history, got {shown(run)}. Pass `probe`, "
            "`probe.history`, or what `probe.save` has written, opened by xarray."
        )
    return run


Place = tuple[str, str | None]


def _readings(history: xr.Dataset) -> dict[Place, Reading]:
    """The last numbers of a history, by quantity and layer."""
    samples = int(history.attrs.get("samples", 0))
    row = last_finite(history)
    if history.sizes["step"] < 2:  # nothing can have moved yet, and no interval says more
        row = row.drop_vars([name for name in row.data_vars if str(name).endswith(ENDS)])
    names = [str(name) for name in row.data_vars if not str(name).endswith(ENDS)]
    found: dict[Place, Reading] = {}
    for name in names:
        parts = {None: row} if "layer" not in row[name].dims else _by_layer(row)
        for layer, part in parts.items():
            reading = _reading(part, name, samples)
            if layer is None or not isnan(reading.value):
                found[name, layer] = reading
    return found


def _by_layer(row: xr.Dataset) -> dict[str | None, xr.Dataset]:
    return {str(name): row.isel(layer=i) for i, name in enumerate(row.layer.values)}


def _reading(row: xr.Dataset, name: str, samples: int) -> Reading:
    """A number with its interval; without one where it is not that for many samples."""

    def number(variable: str) -> float:
        return float(row[variable]) if variable in row and row[variable].size == 1 else nan

    value, low, high = number(name), number(f"{name}_low"), number(f"{name}_high")
    error = number(f"{name}_stderr")
    if isnan(low) and isfinite(error) and samples > 1 and name not in WITHOUT_INTERVAL:
        width = float(stdtrit(samples - 1, LEVEL)) * error
        low, high = value - width, value + width
    known = isfinite(value) and -inf < low <= high < inf
    return Reading(value=value, low=low if known else nan, high=high if known else nan)


def _contrasts(first: dict[Place, Reading], second: dict[Place, Reading]) -> Iterator[Contrast]:
    for quantity, layer in dict.fromkeys((*first, *second)):
        place = quantity, layer
        yield Contrast(
            quantity=quantity, layer=layer, first=first.get(place), second=second.get(place)
        )

"""What tuning richness found: the curve, its optimum, what it gains, and how to use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, isfinite, isnan, log, nan
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from lazyrich._errors import InputError
from lazyrich.probe.one_look import card, counted, one_line
from lazyrich.probe.steer.dialled import Dialled
from lazyrich.study.tuning.optimum import Gain, Optimum, best_rate, gain, optimum, usable
from lazyrich.study.tuning.trial import TuningTask, dialled
from lazyrich.vocabulary.losses import meaning_of
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.regimes import CANNOT_TELL, Word, only, regimes_of_change

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNEQUAL = 2.0  # factor between training losses that is worth a word
COLUMNS = ("richness ρ", "test loss", "95 % interval", "training loss", "kernel change", "rates ×")
NONE = "–"


class Tuning(Word):
    """Whether to turn the dial."""

    TUNE = "tune"
    LEAVE = "leave"


JudgedTuning: TypeAlias = Tuning | Literal["cannot tell"]
"""Whether to turn the dial, or that the seeds leave it open."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RichnessCurve:
    """Test loss against richness, over seeds. `print` it; `apply` it.

    All intervals are 95 % intervals over the seeds.

    Attributes:
        data: results of the dialled networks, over `richness` (ρ as set), `lr_scale` and `seed`:
            `test_loss`, `loss` of the batch after training, `ntk_change` that training made,
            `output_scale`, `time_to_fit`, `status`, `sentence` and `seconds`; and over the seeds
            `mean_test_loss` with its interval.
        standing: the same of the network as it stands, over `lr_scale` and `seed`, with its own
            `richness`.
        task: what was trained.
        trainings: how many this call made; the others came from the store.
        missing: how many were planned and are not there, after Ctrl-C.
    """

    data: xr.Dataset
    standing: xr.Dataset
    task: TuningTask = field(repr=False)
    trainings: int
    missing: int

    @cached_property
    def optimum(self) -> Optimum:
        """Where the curve is lowest, in ln ρ."""
        return optimum(np.log(self.data.richness.values), self.losses)

    @cached_property
    def gain(self) -> Gain:
        """By how much the test loss falls from the network as it stands to the best richness."""
        return gain(self.losses, self.standing_losses)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Test losses over richness, scale of the rates, and seed."""
        values = self.data.test_loss.transpose("richness", "lr_scale", "seed").values
        return np.asarray(values, dtype=float)

    @property
    def standing_losses(self) -> NDArray[np.float64]:
        """The same of the network as it stands, over scale of the rates, and seed."""
        values = self.standing.test_loss.transpose("lr_scale", "seed").values
        return np.asarray(values, dtype=float)

    @property
    def richness(self) -> float:
        """The best ρ of those that were tried; NaN if nothing could be trained."""
        if isnan(self.optimum.place):
            return nan
        levels = self.data.richness.values
        return float(levels[np.argmin(np.abs(np.log(levels) - self.optimum.place))])

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval of the ρ at which the test loss is lowest."""
        low, high = (float(f"{exp(x):.12g}") for x in (self.optimum.low, self.optimum.high))
        return low, high

    @property
    def stands_at(self) -> float:
        """ρ of the network as it stands, the geometric mean over the seeds; NaN if it has none."""
        return geometric_mean(self.standing.richness.values)

    @property
    def advice(self) -> JudgedTuning:
        """Whether to set the best richness, to leave the network as it is, or that it is open."""
        curve, stands = (usable(one).any() for one in (self.losses, self.standing_losses))
        if curve and not stands:
            return Tuning.TUNE
        if self.gain.low > 0:
            return Tuning.TUNE
        return Tuning.LEAVE if self.gain.high < 0 else CANNOT_TELL

    @property
    def best(self) -> xr.Dataset:
        """The curve: every richness at its best learning rates.

        Returns:
            `data` over `richness` and `seed`, with the coordinate `lr_scale`.
        """
        rates = xr.DataArray(best_rate(self.losses), dims="richness")
        return self.data.isel(lr_scale=rates)

    @property
    def standing_best(self) -> xr.Dataset:
        """The network as it stands at its best learning rates.

        Returns:
            `standing` over `seed`.
        """
        return self.standing.isel(lr_scale=int(best_rate(self.standing_losses)))

    @property
    def sentence(self) -> str:
        """What tuning gains, where the optimum is, and what can be told of either."""
        return " ".join(_found(self))

    def apply(self, model: nn.Module, *, optimizer: Optimizer) -> Dialled:
        """Set the best richness on a network of the same kind, of any width.

        ρ is set by `dial`, and the learning rates so that the time to fit along the first step is
        as many steps as in the small network at its best: equally rich and equally fast in the
        space of functions.

        Args:
            model: freshly initialised; it is not changed.
            optimizer: the optimiser of the model, before its first step; its rates are set.

        Returns:
            What the dial did; train its `model` with the same optimiser. Its `learning_rates` are
            those before the time to fit was matched.

        Raises:
            InputError: nothing could be trained, or what `dial` refuses.
            ConvergenceError: see `dial`.
        """
        if isnan(self.richness):
            raise InputError(
                "`apply` must have a richness that could be trained, got a curve without one. Tune "
                "again with other `richness` or lower `lr_scales`."
            )
        at_best = self.best.sel(richness=self.richness)
        result = dialled(self.task, model, optimizer, self.richness)
        wanted, has = geometric_mean(at_best.time_to_fit.values), result.forecast.time_to_fit
        faster = has / wanted if isfinite(has / wanted) else float(at_best.lr_scale)
        for group in optimizer.param_groups:
            group["lr"] *= faster
        return result

    def figure(self) -> Figure:
        """Test loss against richness, with intervals and where the network stands.

        Raises:
            MissingExtraError: without the extra `lazyrich[plot]`.
        """
        from lazyrich.plot.richness import richness_curve
        from lazyrich.plot.style import style

        with style():
            ax = richness_curve(self.best, self.standing_best, interval=self.interval)
            return ax.figure  # type: ignore[return-value]

    def __str__(self) -> str:
        head, rows = _table(self)
        margins = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [
            "   ".join(cell.rjust(margin) for cell, margin in zip(row, margins, strict=True))
            for row in (head, *rows)
        ]
        return "\n".join([*_found(self), *lines, *_notes(self)])

    def __repr__(self) -> str:
        best = "" if isnan(self.richness) else f"best ρ = {in_words(self.richness)} of those tried"
        return one_line("RichnessCurve", self.advice, best, _gained(self))

    def _repr_html_(self) -> str:
        first, *rest = _found(self)
        word, _, sentence = first.partition(": ")
        below = " ".join([*rest, *_notes(self)])
        return card(f"{word}.", sentence, *_table(self), below)


def geometric_mean(values: NDArray[np.float64]) -> float:
    """Of numbers > 0 that are finite; NaN if there are none.

    Args:
        values: numbers > 0, of any shape.
    """
    fine = values[np.isfinite(values) & (values > 0)]
    return exp(float(np.log(fine).mean())) if fine.size else nan


def _found(curve: RichnessCurve) -> list[str]:
    """The findings, in sentences; the first begins with what to do."""
    if isnan(curve.richness):
        return ["Cannot tell: at no richness did the trainings of all seeds come to an end."]
    return [_advised(curve), *_located(curve), *_explained(curve), *_unequal(curve)]


def _advised(curve: RichnessCurve) -> str:
    best = f"ρ = {in_words(curve.richness)}"
    if curve.advice == Tuning.TUNE and isnan(curve.gain.mean):
        return f"Tune: as the network stands training diverges, and at {best} it does not."
    if curve.advice == Tuning.TUNE:
        return f"Tune: turning the dial {_gained(curve)}."
    if curve.advice == Tuning.LEAVE:
        return f"Leave it: turning the dial {_gained(curve)}; no richness tried is better."
    return f"Cannot tell whether tuning gains anything: it {_gained(curve)}. More seeds tell more."


def _gained(curve: RichnessCurve) -> str:
    """The gain with its interval; nothing where there is none."""
    won = curve.gain
    if isnan(won.mean):
        return "has nothing to be compared with"
    stands = float(curve.standing_best.test_loss.mean())
    share = f", {in_words(100 * abs(won.mean) / stands)} % of it" if stands > 0 else ""
    verb = "lowers" if won.mean >= 0 else "raises"
    low, high = sorted((won.low, won.high) if won.mean >= 0 else (-won.low, -won.high))
    return (
        f"{verb} the test loss of {in_words(stands, 3)} by {in_words(abs(won.mean))} "
        f"({in_words(low)} to {in_words(high)}{share})"
    )


def _located(curve: RichnessCurve) -> Iterator[str]:
    """Where the curve is lowest."""
    low, high = curve.interval
    open_low, open_high = _open_ends(curve)
    span = f"{in_words(low)} to {in_words(high)}"
    if open_low and open_high:
        yield (
            f"Cannot tell where the optimum is: it may be anywhere from ρ = {span}, all that could "
            f"be trained; of those tried ρ = {in_words(curve.richness)} is best."
        )
        return
    yield f"The test loss is lowest at ρ = {in_words(curve.richness)} (interval {span})."
    if curve.optimum.edge:
        yield (
            f"That is the {curve.optimum.edge} end of what could be trained: the true optimum may "
            "lie beyond. Give `richness` further out."
        )
    elif open_low or open_high:
        end = "lazy" if open_low else "rich"
        yield f"The interval reaches the {end} end of what could be trained, and may go beyond."


def _explained(curve: RichnessCurve) -> Iterator[str]:
    """On which side the network stands, and whether richness is what gains."""
    stands = curve.stands_at
    spacing = exp(float(np.diff(np.log(curve.data.richness.values)).max()) / 2)
    if isnan(stands):
        yield "The network as it stands has no ρ: its first step leads to no minimum."
    elif side := _side(curve, spacing):
        yield f"The optimum is {side} than the network as it stands, at ρ = {in_words(stands)}."
    else:
        yield (
            f"Whether it is richer or lazier than the network as it stands, at ρ = "
            f"{in_words(stands)}, cannot be told."
        )
        if curve.advice == Tuning.TUNE:
            yield (
                "So the gain need not be one of richness: a dialled network also starts without "
                "its initial function."
            )


def _open_ends(curve: RichnessCurve) -> tuple[bool, bool]:
    """Whether the interval of the optimum ends where what could be trained does, and may go on."""
    levels = curve.data.richness.values[usable(curve.losses).any(axis=-1)]
    low, high = curve.interval
    return _near(low, levels[0]), _near(high, levels[-1])


def _side(curve: RichnessCurve, spacing: float) -> str:
    """On which side of the network as it stands the optimum is; empty if it cannot be told.

    Args:
        curve: the curve.
        spacing: half a step between richnesses, as a factor: no curve is a parabola.
    """
    low, high = curve.interval
    open_low, open_high = _open_ends(curve)
    if curve.stands_at < low / spacing and not open_low:
        return "richer"
    return "lazier" if curve.stands_at > high * spacing and not open_high else ""


def _unequal(curve: RichnessCurve) -> Iterator[str]:
    """Whether all were trained equally far."""
    best = curve.best
    levels = best.richness.values[usable(curve.losses).any(axis=-1)]
    losses = {float(rho): geometric_mean(best.loss.sel(richness=rho).values) for rho in levels}
    known = {rho: loss for rho, loss in losses.items() if loss > 0}
    if not known:
        return
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    if known[most] > UNEQUAL * known[least]:
        yield (
            f"After {counted(curve.task.steps, 'step')} not all are trained equally far: the "
            f"training loss is {in_words(known[least])} at ρ = {in_words(least)} and "
            f"{in_words(known[most])} at ρ = {in_words(most)}."
        )


def _table(curve: RichnessCurve) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: every richness at its best rates, and the network as it stands."""
    best, stands = curve.best, curve.standing_best
    rows = [_row(best.sel(richness=rho), in_words(float(rho))) for rho in best.richness.values]
    return COLUMNS, [*rows, _row(stands, f"as it stands, {_number(curve.stands_at)}")]


def _row(of: xr.Dataset, name: str) -> tuple[str, ...]:
    mean, low, high = (float(of[f"mean_test_loss{end}"]) for end in ("", "_low", "_high"))
    if isnan(mean):
        ended = Counter(of.status.values.tolist())
        said = ", ".join(f"{count} {status}" for status, count in ended.items())
        return (name, said, NONE, NONE, NONE, f"{float(of.lr_scale):.3g}")
    change = geometric_mean(of.ntk_change.values)
    regime = only(regimes_of_change(change, change))
    return (
        name,
        in_words(mean, 3),
        f"{in_words(low, 3)} to {in_words(high, 3)}",
        _number(geometric_mean(of.loss.values)),
        f"{_number(change)} ({regime})",
        f"{float(of.lr_scale):.3g}",
    )


def _number(value: float) -> str:
    return NONE if isnan(value) else in_words(value)


def _notes(curve: RichnessCurve) -> Iterator[str]:
    """What was measured, what was left out, what it cost."""
    task = curve.task
    yield (
        f"Test loss: {meaning_of(task.tested_by)}; mean over {curve.data.sizes['seed']} seeds. "
        "What is gained on a seed is judged at the richness that the other seeds choose."
    )
    lost = int(
        (curve.data.status != "finished").sum() + (curve.standing.status != "finished").sum()
    )
    if lost:
        yield (
            f"{counted(lost, 'training')} diverged, or could not be dialled or tested: see "
            "`data.sentence`."
        )
    if curve.missing:
        yield f"Interrupted: {counted(curve.missing, 'training')} of those planned are missing."
    count = curve.data.test_loss.size + curve.standing.test_loss.size
    seconds = float(curve.data.seconds.sum() + curve.standing.seconds.sum())
    again = count - curve.trainings
    stored = f", {again} of them from the store" if again > 0 else ""
    yield f"Cost: {counted(count, 'training')}{stored}, {in_words(seconds)} seconds."


def _near(value: float, end: float) -> bool:
    """Whether an end of an interval is that of the range, up to rounding."""
    return abs(log(value / end)) < 1e-9

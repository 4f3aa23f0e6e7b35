"""Where a noisy curve over few seeds is lowest, and what going there gains: on arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import stats

from lazyrich.vocabulary.regimes import Regime

DRAWS, SEED = 4000, 0  # of the bootstrap
CONFIDENCE = 0.95
Edge = Literal[Regime.LAZY, Regime.RICH, ""]


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The lowest place of a curve.

    Attributes:
        place: the lowest one of those that were tried; NaN if no place could be.
        low: lower end of the interval of where the curve is lowest.
        high: upper end.
        edge: the end of what could be trained at which the lowest place is, if it is at one.
    """

    place: float
    low: float
    high: float
    edge: Edge


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What going to the lowest place gains.

    Attributes:
        mean: mean fall of the loss, over the seeds.
        low: lower end of its interval.
        high: upper end.
    """

    mean: float
    low: float
    high: float


def usable(losses: Float[NDArray[np.float64], "... seed"]) -> Bool[NDArray[np.bool_], "..."]:
    """Whether the training went well with every seed.

    Args:
        losses: NaN where a training did not.
    """
    return np.asarray(np.isfinite(losses).all(axis=-1))


def over_seeds(
    losses: Float[NDArray[np.float64], "... seed"],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The mean over the seeds and the ends of its 95 % interval, by Student's t, or NaN.

    Args:
        losses: losses of trainings.

    Example:
        >>> mean, low, high = over_seeds(np.array([1.0, 2.0, 3.0]))
        >>> [round(float(x), 2) for x in (mean, low, high)]
        [2.0, -0.48, 4.48]
    """
    count = losses.shape[-1]
    mean = losses.mean(axis=-1)
    if count < 2:
        return mean, np.full_like(mean, -inf), np.full_like(mean, inf)
    half = losses.std(axis=-1, ddof=1) / np.sqrt(count)
    half = half * stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return mean, mean - half, mean + half


def best_rate(
    losses: Float[NDArray[np.float64], "place rate seed"],
) -> NDArray[np.intp]:
    """For every place the rate with the lowest mean; 0 where none is usable.

    Args:
        losses: losses of trainings.
    """
    return np.argmin(_means(losses), axis=-1)


def optimum(
    places: Float[NDArray[np.float64], "place"],
    losses: Float[NDArray[np.float64], "place rate seed"],
) -> Optimum:
    """Where the mean loss at the best rate is lowest, with an interval over the seeds.

    The seeds' deviations from the means are added up with random signs and sizes, a multiplier
    bootstrap, and stretched so that a difference of two means is spread by Student's t, which a
    bootstrap of three seeds would miss by far. In every draw the lowest place is that of a parabola
    through the lowest point and its two neighbours. The interval also reaches to every place that
    was tried and, by Student's t on the pairs, is not shown to be worse than the lowest one: on a
    flat curve it holds them all.

    Args:
        places: ln ρ, rising.
        losses: losses of trainings; NaN where one failed.

    Example:
        >>> places, noise = np.arange(5.0), np.array([-0.1, 0.0, 0.1])
        >>> found = optimum(places, ((places - 2) ** 2)[:, None, None] + noise)
        >>> found.place, found.edge, round(found.low, 6), round(found.high, 6)
        (2.0, '', 2.0, 2.0)

    Reference:
        The multiplier bootstrap of means: Præstgaard & Wellner, Ann. Probab. 21, 2053 (1993).
    """
    fine = usable(losses).any(axis=-1)
    if not fine.any():
        return Optimum(place=nan, low=nan, high=nan, edge="")
    places, losses = places[fine], losses[fine]
    means = _means(losses)
    index = int(np.argmin(means.min(axis=-1)))
    last = len(places) - 1
    edge: Edge = Regime.LAZY if index == 0 else Regime.RICH if index == last else ""
    place = float(places[index])
    count = losses.shape[-1]
    if count < 2:
        return Optimum(place=place, low=float(places[0]), high=float(places[-1]), edge=edge)
    rng = np.random.default_rng(SEED)
    deviations = np.where(usable(losses)[..., None], losses - means[..., None], 0.0)
    weights = rng.standard_normal((DRAWS, count)) / np.sqrt(count * (count - 1))
    weights *= np.sqrt((count - 1) / rng.chisquare(count - 1, (DRAWS, 1)))
    drawn = means + np.einsum("prs,ds->dpr", deviations, weights)
    lowest = _vertices(places, drawn.min(axis=-1))
    ends = np.quantile(lowest, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    at_best = losses[np.arange(len(places)), best_rate(losses)]
    as_good = places[over_seeds(at_best - at_best[index])[1] <= 0]
    every = np.concatenate([ends, as_good])
    return Optimum(place=place, low=float(every.min()), high=float(every.max()), edge=edge)


def gain(
    losses: Float[NDArray[np.float64], "place rate seed"],
    standing: Float[NDArray[np.float64], "rate seed"],
) -> Gain:
    """How much lower the loss is at the best place than as it stands, without the winner's luck.

    The best of many noisy numbers looks better than it is. So for every seed the place and the
    rate, also that of the standing network, are chosen by the other seeds, and the gain is taken on
    the one that was left out. Its interval is by Student's t over the seeds; where the seeds do not
    choose alike, the gains depend on each other, and the variance is that of Nadeau & Bengio, which
    counts 1/(S − 1) on top of 1/S.

    Args:
        losses: losses of trainings; NaN where one failed.
        standing: losses of the network as it stands, likewise.

    Returns:
        NaN where either has no rate at which all seeds could be trained.

    Example:
        >>> found = gain(np.array([[[1.0, 1.1]], [[3.0, 3.3]]]), np.array([[2.0, 2.3]]))
        >>> round(found.mean, 6)
        1.1

    Reference:
        Nadeau & Bengio, Inference for the generalization error, Machine Learning 52, 239 (2003).
    """
    curve = losses[usable(losses)]
    stands = standing[usable(standing)]
    count = standing.shape[-1]
    if not len(curve) or not len(stands) or count < 2:
        return Gain(mean=nan, low=nan, high=nan)
    chosen = [(_chosen(stands, seed), _chosen(curve, seed)) for seed in range(count)]
    gains = np.array([stands[a, s] - curve[b, s] for s, (a, b) in enumerate(chosen)])
    mean, low, high = over_seeds(gains)
    wider = 1.0 if len(set(chosen)) == 1 else np.sqrt(1 + count / (count - 1))
    return Gain(
        mean=float(mean),
        low=float(mean - wider * (mean - low)),
        high=float(mean + wider * (high - mean)),
    )


def _chosen(losses: Float[NDArray[np.float64], "choice seed"], left_out: int) -> int:
    """The lowest by the other seeds."""
    return int(np.argmin(np.delete(losses, left_out, axis=-1).mean(axis=-1)))


def _means(losses: Float[NDArray[np.float64], "... seed"]) -> NDArray[np.float64]:
    """Over the seeds; infinite where unusable."""
    fine = usable(losses)
    return np.where(fine, np.where(fine[..., None], losses, 0.0).mean(axis=-1), inf)


def _vertices(
    places: Float[NDArray[np.float64], "place"], curves: Float[NDArray[np.float64], "draw place"]
) -> NDArray[np.float64]:
    """Of the parabola through the lowest point and its neighbours; at an edge the point itself."""
    lowest = np.argmin(curves, axis=-1)
    if len(places) < 3:
        return places[lowest]
    inner = np.clip(lowest, 1, len(places) - 2)
    rows = np.arange(len(curves))
    x0, x1, x2 = (places[inner + shift] for shift in (-1, 0, 1))
    y0, y1, y2 = (curves[rows, inner + shift] for shift in (-1, 0, 1))
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = (x0 + x1) / 2 - left / (2 * bend)
    return np.where((lowest == inner) & (bend > 0), vertex, places[lowest])

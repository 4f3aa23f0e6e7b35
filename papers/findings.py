"""Findings: numbers with their intervals, and what can be said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

LEVEL = 0.95
INTERVAL = "95 % interval of"  # how the words for an interval begin


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A measured number.

    Attributes:
        value: the number.
        n: what it rests on: runs, draws or pairs.
        low: lower end of its interval; None if the number is exact, NaN if the interval is unknown.
        high: upper end.
        sd: standard deviation over the n; None where there is none.
        of: what the interval is, known or not, beginning with `INTERVAL`; else what the number is.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    of: str = ""


def mean(values: Iterable[float]) -> Finding:
    """The mean with its t interval, which one value alone has not."""
    x = np.asarray(list(values), float)
    sd = float(x.std(ddof=1)) if x.size > 1 else math.nan
    half = float(stats.t.ppf((1 + LEVEL) / 2, x.size - 1)) * sd / x.size**0.5
    value = float(x.mean())
    of = f"{INTERVAL} the mean"
    return Finding(value=value, n=x.size, low=value - half, high=value + half, sd=sd, of=of)


def slope(values: xr.DataArray, dim: str) -> Finding:
    """The exponent of `values ∝ dim^exponent`, with a constant of its own for every repeat.

    Least squares on logarithms within the repeats, which are the places along all other dims.
    """
    logs = np.log(values.transpose(..., dim).values.reshape(-1, values.sizes[dim]))
    x = np.log(np.asarray(values[dim].values, float))
    x, y = x - x.mean(), logs - logs.mean(1, keepdims=True)
    exponent = float((y @ x).sum() / (len(y) * x @ x))
    freedom = y.size - len(y) - 1
    error = float(np.sqrt(((y - exponent * x) ** 2).sum() / freedom / (len(y) * x @ x)))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    of = f"{INTERVAL} the least-squares slope on logarithms, within repeats"
    return Finding(value=exponent, n=y.size, low=exponent - half, high=exponent + half, of=of)


def rank_correlation(x: Iterable[float], y: Iterable[float]) -> tuple[Finding, float]:
    """Spearman's correlation with Fieller's interval, and its two-sided p-value."""
    a, b = (np.asarray(list(part), float) for part in (x, y))
    found = stats.spearmanr(a, b)
    r = float(found.statistic)
    with np.errstate(divide="ignore"):
        low, high = (
            float(np.tanh(np.arctanh(r) + side * 1.96 * np.sqrt(1.06 / (a.size - 3))))
            for side in (-1, 1)
        )
    of = f"{INTERVAL} Spearman's rank correlation (Fieller)"
    return Finding(value=r, n=a.size, low=low, high=high, of=of), float(found.pvalue)


def ends(found: Mapping[str, Any]) -> tuple[float, float]:
    """Between which numbers a finding of a record lies: anywhere if its interval is unknown.

    NaN where nothing was measured.
    """
    value, low, high = (found[part] for part in ("value", "low", "high"))
    if not _known(value):
        return math.nan, math.nan
    if low is None and high is None and not found["of"].startswith(INTERVAL):
        return value, value
    return (low, high) if _known(low) and _known(high) else (-math.inf, math.inf)


def _known(number: float | None) -> bool:
    return number is not None and math.isfinite(number)

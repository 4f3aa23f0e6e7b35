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
MEAN = f"{INTERVAL} the mean"
RANKS = f"{INTERVAL} Spearman's rank correlation (Fieller)"


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
    return Finding(value=value, n=x.size, low=value - half, high=value + half, sd=sd, of=MEAN)


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


def rank_correlation(
    x: Iterable[float], y: Iterable[float], *, n: int | None = None
) -> tuple[Finding, float]:
    """Spearman's correlation with Fieller's interval, and its two-sided p-value.

    Args:
        x: one of the two.
        y: the other.
        n: how many independent pairs there are, fewer than pairs if they come in groups.
    """
    a, b = (np.asarray(list(part), float) for part in (x, y))
    found = stats.spearmanr(a, b)
    r = float(found.statistic)
    n = a.size if n is None else n
    low, high = _fieller(r, n, LEVEL)
    return Finding(value=r, n=n, low=low, high=high, of=RANKS), float(found.pvalue)


def _fieller(r: float, n: int, level: float) -> tuple[float, float]:
    """Interval of a rank correlation r of n pairs."""
    half = float(stats.norm.ppf((1 + level) / 2)) * np.sqrt(1.06 / (n - 3))
    with np.errstate(divide="ignore"):
        low, high = (float(np.tanh(np.arctanh(r) + side * half)) for side in (-1, 1))
    return low, high


def together(found: Mapping[str, Any], tests: int) -> Mapping[str, Any]:
    """A finding whose interval holds together with those of `tests` − 1 others (Bonferroni).

    Args:
        found: a mean or a rank correlation, as a record has it.
        tests: on how many outcomes one hypothesis is tried.

    Raises:
        ValueError: of what the interval is does not say how it widens.
    """
    if tests == 1 or not (_known(found["low"]) and _known(found["high"])):
        return found
    of = f"{found['of']}, one of {tests} (Bonferroni)"
    level, r, n = 1 - (1 - LEVEL) / tests, found["value"], found["n"]
    if found["of"] == MEAN:
        half = float(stats.t.ppf((1 + level) / 2, n - 1)) * found["sd"] / n**0.5
        return {**found, "low": r - half, "high": r + half, "of": of}
    if found["of"] == RANKS:
        low, high = _fieller(r, n, level)
        return {**found, "low": low, "high": high, "of": of}
    raise ValueError(f"must be a mean or a rank correlation to be widened, got {found['of']!r}")


def compared(
    found: Mapping[str, Any],
    words: tuple[str, str, str] = ("above", "below", "not told from"),
    than: float = 0.0,
) -> str:
    """A word for where a finding lies: the first if all of its interval is above, and so on."""
    low, high = ends(found)
    if low > than:
        return words[0]
    return words[1] if high < than else words[2]


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

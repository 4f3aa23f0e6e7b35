"""Is the ansatz the same as alignment of the weights' left singular structure with the gradients?

From the runs of figure 1, every hidden layer at the end of training: the ansatz at the powers 1
and ½, and the alignment ρ(WWᵀ, K) of the weights' left Gram matrix with the covariance of the
tangent features, each above its null, the mean over rotations of K. Beside them what the algebra
says: the ansatz of power ½ is perfect if K = WWᵀ, that of power 1 if K has no preferred direction
at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lazyrich import plot
from papers.beaglehole2024alignment.left import (
    ansatz_of_power_1,
    ansatz_of_power_half,
    left_alignment,
)
from papers.harness import (
    Bench,
    Finding,
    Measured,
    Record,
    bare,
    compared,
    number,
    rank_correlation,
)

NEEDS = ("fig1",)  # whose record it reads
NEAR = 0.05  # of the null of the left alignment
POWERS = {"power_1": "1", "power_half": "½"}
WIDTH, INPUTS, DRAWS = 64, 96, 20  # of the weights of the algebra


def measure(bench: Bench) -> Measured:
    """Gather every layer of every run of figure 1; draw weights for the algebra."""
    sets = bench.record("fig1")["shown"]["left"]
    excess = {
        name: np.concatenate([_excess(found, name) for found in sets.values()])
        for name in ("left", *POWERS)
    }
    runs = sum(len(found["left"]) for found in sets.values())
    findings: dict[str, Finding] = {}
    for power in POWERS:
        found, _ = rank_correlation(excess["left"], excess[power], n=runs)
        findings[f"{power}: rank correlation with left alignment"] = found
        same = np.sign(excess["left"]) == np.sign(excess[power])
        findings[f"{power}: share on the same side of the null"] = Finding(
            value=float(same.mean()), n=same.size, of="layers of all runs"
        )
        near = abs(excess["left"]) < NEAR
        findings[f"{power}: the same near the null"], _ = rank_correlation(
            excess["left"][near], excess[power][near], n=min(runs, int(near.sum()))
        )
    findings |= _algebra()
    shown = {
        name: {part: _excess(found, part) for part in excess} | {"runs": len(found["left"])}
        for name, found in sets.items()
    }
    return Measured(findings=findings, shown={"sets": shown})


def _excess(found: Mapping[str, Any], name: str) -> np.ndarray:
    """Above the null, of all runs and layers."""
    value, null = (np.array(found[part], float) for part in (name, f"{name}_null"))
    return (value - null).ravel()


def _algebra() -> dict[str, Finding]:
    """Both measures of power where K = WWᵀ and where K = 1, on random weights."""
    rows = []
    for seed in range(DRAWS):
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(WIDTH, INPUTS, generator=generator, dtype=torch.float64)
        b, one = w @ w.T, torch.eye(WIDTH, dtype=torch.float64)
        aligned, isotropic = (
            (ansatz_of_power_1(b, k), ansatz_of_power_half(b, k), left_alignment(b, k))
            for k in (b, one)
        )
        rows.append([float(part) for part in (*aligned, *isotropic)])
    half_aligned, one_isotropic = (1 - np.array(rows)[:, i] for i in (1, 3))
    one_aligned, left_isotropic = (np.array(rows)[:, i].mean() for i in (0, 5))
    return {
        "power_half: distance from 1 where K = WWᵀ": Finding(
            value=float(abs(half_aligned).max()), n=DRAWS, of="draws: largest"
        ),
        "power_1: distance from 1 where K = 1": Finding(
            value=float(abs(one_isotropic).max()), n=DRAWS, of="draws: largest"
        ),
        "power_1 where K = WWᵀ": Finding(value=float(one_aligned), n=DRAWS, of="draws: mean"),
        "left alignment where K = 1": Finding(
            value=float(left_isotropic), n=DRAWS, of="draws: mean"
        ),
    }


def found(record: Record) -> str:
    """Whether layers that are aligned on the left are those with a high ansatz."""
    findings = record["findings"]
    parts = []
    for power, label in POWERS.items():
        r = findings[f"{power}: rank correlation with left alignment"]
        share = findings[f"{power}: share on the same side of the null"]
        close = findings[f"{power}: the same near the null"]
        order = ("go with", "go against", "are not told to go with")
        parts.append(
            f"at power {label} higher values {compared(r, order)} higher left alignment (rank "
            f"correlation {number(r)}), and {bare(share, '.0%')} of the layers are on the same "
            f"side of both nulls; within {NEAR:g} of the left null the two "
            f"{compared(close, ('go together', 'oppose each other', 'are not told related'))} "
            f"({number(close)})"
        )
    n = findings["power_1: share on the same side of the null"]["n"]
    runs = findings["power_1: rank correlation with left alignment"]["n"]
    return (
        f"Ansatz and left alignment, each above its null, in {n} layers of {runs} runs: "
        f"{'; '.join(parts)}. In random weights with K = WWᵀ the ansatz of power 1 is "
        f"{bare(findings['power_1 where K = WWᵀ'])}, and with K = 1 it is 1 though the left "
        f"alignment is its null, {bare(findings['left alignment where K = 1'])}."
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """A panel a power: every layer of every run, the colours those of the data set."""
    sets = record["shown"]["sets"]
    made = plot.figure(1, 2, width=3.8, height=3.2)
    for ax, (power, label) in zip(made.axes, POWERS.items(), strict=True):
        for (name, values), marker in zip(sets.items(), "os^D", strict=False):
            ax.plot(values["left"], values[power], marker, ms=3, mfc="none", label=name, alpha=0.8)
        ax.axhline(0, color="0.6", lw=0.7)
        ax.axvline(0, color="0.6", lw=0.7)
        ax.set(xlabel="ρ(WWᵀ, K) − null", ylabel="ansatz − null", title=f"ansatz of power {label}")
    plot.legend(made.axes[0])
    return made

"""Claim: the verdict agrees with explicit kernels of nonlinear networks, and with exact theory.

**Nonlinear networks** (`nonlinear_families`): MLPs with tanh and ReLU, a CNN, a transformer and a
network with batch norm, SGD and Adam, one output and ten, output scales over three decades, trained
to 50, 20 or 5 % of the loss at most. Truth: the kernel's change by explicit Jacobians.

**Solvable networks**: two-layer linear networks on a line, of random width, output scale, initial
variances and learning rates, trained by full-batch gradient descent. Truth: the kernel's change at
the end of gradient flow (`lazyrich.order_parameters`). Besides, runs that are stopped at once
(frozen) and runs whose step is too large (unstable, by the exact recursion of gradient descent).

Within a factor 1.2 of a threshold either neighbour is right.

    python bench/calibrate_verdict.py            # some five minutes of one core
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nonlinear_families import Run, kernel, runs, truth_of, turn_between_samples
from torch import Tensor, nn

import lazyrich
from lazyrich.theory import two_layer_linear as linear
from lazyrich.vocabulary.regimes import CANNOT_TELL, Regime

DOCS = Path(__file__).parent.parent / "docs"
STATUSES = (
    *(Regime.LAZY, Regime.INTERMEDIATE, Regime.RICH, Regime.FROZEN, Regime.UNSTABLE),
    CANNOT_TELL,
)
SCALE = (Regime.LAZY, Regime.INTERMEDIATE, Regime.RICH)
BAND = 1.2  # factor around a threshold within which either neighbour is right
STEP = 0.2  # of gradient descent, in units of the loss's inverse curvature at its largest
MOST_STEPS = 4000
NONLINEAR_STEPS = 300
ROWS = (Regime.LAZY, "near 0.1", Regime.INTERMEDIATE, "near 1", Regime.RICH)
MOST_LEFT = 0.9  # of the first loss
STOPS = (0.5, 0.2, 0.05)  # of the first loss
BEGIN, END = "<!-- confusion: written by bench/calibrate_verdict.py -->", "<!-- end -->"


class TwoLayers(nn.Module):
    """`f = γ U W x`."""

    def __init__(self, u: Tensor, w: Tensor, output_scale: float) -> None:
        super().__init__()
        self.w = nn.Linear(w.shape[1], len(w), bias=False).double()
        self.u = nn.Linear(len(w), 1, bias=False).double()
        self.w.weight.data, self.u.weight.data = w, u
        self.output_scale = output_scale

    def forward(self, x: Tensor) -> Tensor:
        return self.output_scale * self.u(self.w(x))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network on its data, before training, and what theory says of it."""

    model: TwoLayers
    x: Tensor
    y: Tensor
    lr_u: float
    lr_w: float
    steps: int
    truth: frozenset[str]
    change: float


def draw(rng: np.random.Generator, kind: str) -> Case | None:
    """A random network; None if its training would take too long."""
    width, inputs, samples = int(2 ** rng.uniform(3, 9)), int(rng.integers(1, 5)), 24
    output_scale, ratio = 10 ** rng.uniform(-1.5, 1), 10 ** rng.uniform(-1, 1)
    init_std_u, init_std_w = 10 ** rng.uniform(-1.5, 0.5, size=2) * width**-0.25
    u, w = init_std_u * rng.normal(size=(1, width)), init_std_w * rng.normal(size=(width, inputs))
    n = rng.normal(size=inputs)
    n /= np.linalg.norm(n)
    a = rng.normal(size=samples)
    y = 10 ** rng.uniform(-0.5, 0.5) * a + 0.1 * rng.normal(size=samples)
    data = linear.LineData.from_samples(a, y)
    state = linear.LineState.from_weights(u[0], w @ n)

    def network(scale: float) -> linear.LinearNetwork:
        return linear.LinearNetwork(
            output_scale=output_scale, lr_u=scale * ratio**0.5, lr_w=scale * ratio**-0.5
        )

    order = lazyrich.order_parameters(state, network(1.0), data)
    end = linear.flow(state, network(1.0), data, [0.0, math.inf])
    curvature = 2 * float(np.mean(a**2)) * float(end.ntk_trace.max())
    change = float(order.ntk_change)
    scale = {"frozen": 1e-5, "unstable": 40.0}.get(kind, STEP) / curvature
    steps = 20 if kind != "converged" else math.ceil(4 * float(order.learning_time) / scale) + 20
    if steps > MOST_STEPS:
        return None
    truth = _truth(change)
    if kind == "frozen":
        truth = frozenset({"frozen"})
    elif kind == "unstable":
        run = linear.descent(state, network(scale), data, steps=steps)
        grew = float(run.loss[-1] / run.loss[0])
        if grew < 10:  # also a catapult may land
            return None
        truth = frozenset({"unstable"})
    model = TwoLayers(torch.tensor(u), torch.tensor(w), output_scale)
    return Case(
        model=model,
        x=torch.tensor(np.outer(a, n)),
        y=torch.tensor(y)[:, None],
        lr_u=scale * ratio**0.5,
        lr_w=scale * ratio**-0.5,
        steps=steps,
        truth=truth,
        change=change,
    )


def _truth(change: float) -> frozenset[str]:
    """Every word that is right for a change of the kernel."""
    limits = lazyrich.Thresholds()
    edges = (0.0, limits.lazy_below, limits.rich_from, math.inf)
    right = {
        str(regime)
        for regime, low, high in zip(SCALE, edges, edges[1:], strict=False)
        if low / BAND < change < high * BAND
    }
    return frozenset(right | ({CANNOT_TELL} if len(right) == 2 else set()))


def name_of(truth: frozenset[str]) -> str:
    """The row of the table."""
    if len(truth) == 1:
        return next(iter(truth))
    limits = lazyrich.Thresholds()
    return f"near {limits.lazy_below if Regime.LAZY in truth else limits.rich_from:g}"


def judged(case: Case) -> tuple[str, float]:
    """The probe's verdict, and the kernel's change that it measured."""
    model, x, y = case.model, case.x, case.y
    groups = [
        {"params": [model.u.weight], "lr": case.lr_u},
        {"params": [model.w.weight], "lr": case.lr_w},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.0)
    probe = lazyrich.Probe(
        model,
        (x, y),
        lrs={"u": case.lr_u, "w": case.lr_w},
        observables=["loss", "ntk_change", "parameter_data_alignment"],
    )
    with probe.watch(optimizer, when=lazyrich.at(max(1, case.steps // 2))):
        for _ in range(case.steps):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    verdict = probe.verdict()
    return verdict.regime, verdict.evidence["ntk_change"]


def nonlinear(number: int, seed: int, until: float = math.inf) -> dict[str, Any]:
    """Watch nonlinear networks and compare the verdicts with explicit Jacobians."""
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    rows, left_out = list[dict[str, Any]](), 0
    for i, run in enumerate(runs(number, seed)):
        if time.perf_counter() > until:
            break
        start = kernel(run.model, run.x)
        probe = lazyrich.Probe(run.model, (run.x, run.y), samples=None, seed=i)
        losses = watched(run, probe, STOPS[i % len(STOPS)])
        if not losses[-1] <= MOST_LEFT * losses[0]:
            left_out += 1  # it diverged, or did not train: neither is about the kernel
            continue
        end = kernel(run.model, run.x)
        change, verdict = truth_of(start, end), probe.verdict()
        low, high = verdict.interval
        truth, found = _truth(change), verdict.evidence
        table[name_of(truth)][verdict.regime] += 1
        row = {
            "family": run.family, "optimizer": run.optimizer, "outputs": run.outputs,
            "output_scale": run.scale, "steps": len(losses) - 1,
            "loss_left": losses[-1] / losses[0], "exact": change, "measured": found["ntk_change"],
            "low": low, "high": high, "verdict": verdict.regime,
            "right": verdict.regime in truth or verdict.regime == CANNOT_TELL,
            "linearisation_error": found["linearisation_error"],
            "turn": turn_between_samples(start, end, len(run.x)),
            "measured_turn": found["centred_kernel_distance"],
        }  # fmt: skip
        rows.append(row)
    return {
        "networks": len(rows),
        "left_out_as_untrained": left_out,
        "confusion": {name: dict(table[name]) for name in ROWS if name in table},
        "decided": sum(row["verdict"] != CANNOT_TELL for row in rows),
        "wrong": [row for row in rows if not row["right"]],
        "interval_holds_the_exact_change": float(
            np.mean([row["low"] <= row["exact"] <= row["high"] for row in rows])
        ),
        "linearisation_error_by_exact_regime": by_regime(rows),
        "ratio_of_measured_to_exact_turn_with_ten_outputs": quantiles(
            [row["measured_turn"] / row["turn"] for row in rows if row["outputs"] > 1]
        ),
        "runs": [{name: rounded(value) for name, value in row.items()} for row in rows],
    }


def watched(run: Run, probe: lazyrich.Probe, stop: float) -> list[float]:
    """Train to a share of the first loss; the loss before every step and after the last one."""
    optimizer, losses = run.begin(), list[float]()
    with probe.watch(optimizer, when=lazyrich.at(NONLINEAR_STEPS + 1)):
        while True:
            optimizer.zero_grad()
            loss = (run.model(run.x) - run.y).square().mean()
            losses.append(loss.item())
            if len(losses) > NONLINEAR_STEPS or not losses[-1] > stop * losses[0]:
                return losses
            loss.backward()
            optimizer.step()


def by_regime(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The linearisation error of the networks of each regime, by the explicit kernels."""
    limits = lazyrich.Thresholds()
    found: dict[str, list[float]] = collections.defaultdict(list)
    for row in rows:
        found[limits.regimes(row["exact"], row["exact"])[0]].append(row["linearisation_error"])
    return {
        str(regime): quantiles(found[regime]) | {"networks": len(found[regime])} for regime in SCALE
    }


def rounded(value: Any) -> Any:  # noqa: ANN401 - a field of a run
    """In as many digits as the record needs; None for what is not finite."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, with the values below and above which a tenth lies."""
    known = [value for value in values if math.isfinite(value)]
    low, middle, high = np.quantile(known, [0.1, 0.5, 0.9]) if known else [math.nan] * 3
    return {"10 %": float(low), "median": float(middle), "90 %": float(high)}


def solvable(wanted: dict[str, int], seed: int, until: float = math.inf) -> dict[str, Any]:
    """Watch solvable networks and compare the verdicts with theory."""
    rng = np.random.default_rng(seed)
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    errors, wrong, left_out = [], [], 0
    for kind, number in wanted.items():
        done = 0
        while done < number and time.perf_counter() < until:
            case = draw(rng, kind)
            if case is None:
                left_out += 1
                continue
            done += 1
            regime, change = judged(case)
            name = name_of(case.truth)
            table[name][regime] += 1
            if kind == "converged":
                errors.append(abs(math.log(change / case.change)))
            if regime not in case.truth:
                wrong.append(
                    {"truth": name, "verdict": regime, "exact": case.change, "measured": change}
                )
    return {
        "networks": sum(row.total() for row in table.values()),
        "left_out_as_too_slow_or_stable": left_out,
        "confusion": {name: dict(table[name]) for name in (*ROWS, *wanted) if name in table},
        "wrong": wrong,
        "log_ratio_of_measured_to_exact_ntk_change": {
            "median": float(np.median(errors)),
            "90 %": float(np.quantile(errors, 0.9)),
            "largest": float(np.max(errors)),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=300, help="that theory solves")
    parser.add_argument("--nonlinear", type=int, default=320, help="nonlinear ones")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then no further networks")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start, limits = time.perf_counter(), lazyrich.Thresholds()
    wanted = {"frozen": 30, "unstable": 30, "converged": arguments.networks}
    ends = [start + 60 * arguments.minutes * share for share in (0.7, 1)]
    record = {
        "claim": __doc__.splitlines()[0].removeprefix("Claim: ") if __doc__ else "",
        "thresholds": [limits.lazy_below, limits.rich_from],
        "band": BAND,
        "nonlinear": nonlinear(arguments.nonlinear, arguments.seed, ends[0]),
        "solvable": solvable(wanted, arguments.seed, ends[1]),
        "seed": arguments.seed,
        "seconds": round(time.perf_counter() - start),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    (DOCS / "records").mkdir(parents=True, exist_ok=True)
    (DOCS / "records" / "verdict.json").write_text(json.dumps(record, indent=1) + "\n")
    page = DOCS / "measure" / "verdict.md"
    before, _, rest = page.read_text().partition(BEGIN)
    text = as_text(record)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    print(text, record["seconds"], "s")


def as_text(record: dict[str, Any]) -> str:
    """What stands on the page: both tables, and the numbers between them."""
    of, exact = record["nonlinear"], record["solvable"]
    turn = of["ratio_of_measured_to_exact_turn_with_ten_outputs"]
    missed = ", ".join(
        f"{regime} {found['median']:.0%} ({found['10 %']:.0%} to {found['90 %']:.0%})"
        for regime, found in of["linearisation_error_by_exact_regime"].items()
    )
    return "\n".join([
        "",
        f"**{of['networks']} nonlinear networks**: {of['decided']} verdicts decide, "
        f"{len(of['wrong'])} of these are wrong.",
        "",
        as_table(of["confusion"]),
        "",
        "The interval holds the change of all outputs of these samples in "
        f"{of['interval_holds_the_exact_change']:.0%} of them.",
        "The linearisation misses, in the median (lowest to highest tenth):",
        f"{missed}.",
        f"With ten outputs the measured turn is {turn['median']:.2f} times the explicit one "
        f"({turn['10 %']:.2f} to {turn['90 %']:.2f}).",
        "",
        f"**{exact['networks']} solvable networks**: {len(exact['wrong'])} wrong.",
        "",
        as_table(exact["confusion"]),
        "",
    ])  # fmt: skip


def as_table(confusion: dict[str, dict[str, int]]) -> str:
    """Markdown: a row a truth, a column a verdict."""
    lines = [
        "| truth | " + " | ".join(STATUSES) + " |",
        "|---" * (1 + len(STATUSES)) + "|",
    ]
    for truth, row in confusion.items():
        lines.append(f"| {truth} | " + " | ".join(str(row.get(s, 0)) for s in STATUSES) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

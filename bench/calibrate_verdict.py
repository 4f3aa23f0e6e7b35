"""Claim: the verdict agrees with the exact theory on two-layer linear networks on a line.

Random width, output scale, initial variances and learning rates on both sides of the phase
boundary, trained in PyTorch by full-batch gradient descent and watched by a probe. Truth: the
kernel's change at the end of gradient flow (`lazyrich.order_parameters`); within a factor 1.2 of
the threshold either answer is right. Besides, runs that are stopped at once (frozen) and runs
whose step is too large (unstable, by the exact recursion of gradient descent).

    python bench/calibrate_verdict.py            # under five minutes on one core
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

import numpy as np
import torch
from torch import Tensor, nn

import lazyrich
from lazyrich.theory import two_layer_linear as linear
from lazyrich.vocabulary.regimes import CANNOT_TELL, Regime

DOCS = Path(__file__).parent.parent / "docs"
STATUSES = (Regime.LAZY, Regime.RICH, Regime.FROZEN, Regime.UNSTABLE, CANNOT_TELL)
BAND = 1.2  # factor around the threshold within which either answer is right
STEP = 0.2  # of gradient descent, in units of the loss's inverse curvature at its largest
MOST_STEPS = 4000
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
    threshold = lazyrich.Thresholds().rich_from
    right = set()
    if change < threshold * BAND:
        right.add("lazy")
    if change > threshold / BAND:
        right.add("rich")
    if len(right) == 2:
        right.add("cannot tell")
    return frozenset(right)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=600, help="that are trained to the end")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng, start = np.random.default_rng(arguments.seed), time.perf_counter()
    wanted = {"converged": arguments.networks, "frozen": 60, "unstable": 60}
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    errors, wrong, left_out = [], [], 0
    for kind, number in wanted.items():
        done = 0
        while done < number:
            case = draw(rng, kind)
            if case is None:
                left_out += 1
                continue
            done += 1
            regime, change = judged(case)
            name = "near the threshold" if len(case.truth) > 1 else next(iter(case.truth))
            table[name][regime] += 1
            if kind == "converged":
                errors.append(abs(math.log(change / case.change)))
            if regime not in case.truth:
                wrong.append(
                    {"truth": name, "verdict": regime, "exact": case.change, "measured": change}
                )
    record = {
        "claim": __doc__.splitlines()[0].removeprefix("Claim: ") if __doc__ else "",
        "networks": sum(wanted.values()),
        "left_out_as_too_slow_or_stable": left_out,
        "threshold": lazyrich.Thresholds().rich_from,
        "band": BAND,
        "confusion": {name: dict(row) for name, row in table.items()},
        "wrong": wrong,
        "log_ratio_of_measured_to_exact_ntk_change": {
            "median": float(np.median(errors)),
            "90 %": float(np.quantile(errors, 0.9)),
            "largest": float(np.max(errors)),
        },
        "seed": arguments.seed,
        "seconds": round(time.perf_counter() - start),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    (DOCS / "records").mkdir(parents=True, exist_ok=True)
    (DOCS / "records" / "verdict.json").write_text(json.dumps(record, indent=1) + "\n")
    page = DOCS / "measure" / "verdict.md"
    before, _, rest = page.read_text().partition(BEGIN)
    table_text = as_table(record["confusion"])
    page.write_text(f"{before}{BEGIN}\n{table_text}\n{END}{rest.partition(END)[2]}")
    print(table_text)
    print(f"{len(wrong)} wrong of {record['networks']}, {record['seconds']} s")


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

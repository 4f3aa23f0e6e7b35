"""Meta-learning from a stream of tasks forms the representation that their teachers share.

The dynamics of that, in nonlinear two-layer networks, are the subject of Wang, Yip & Li,
arXiv:2408.12545. Teachers are y = v·erf(Bx), B shared, v the task's own. A sample of our network is
a whole task: its readout makes one gradient step on labelled inputs, and answers for others, so
that the probe sees the kernel of meta-training. We ask whether the first layer comes to the span of
B from a small and from a large start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from _run import Run, Size, main, told
from matplotlib.axes import Axes
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import plot

INPUTS, SHARED, WIDTH, EXAMPLES, ASKED = 24, 2, 48, 30, 20
RATE = 0.1
TASKS: dict[Size, int] = {"smoke": 9, "full": 64}
STEPS: dict[Size, int] = {"smoke": 10, "full": 800}
STARTS = {"small_start": 0.3, "large_start": 2.0}
Tasks = tuple[tuple[Tensor, Tensor, Tensor], Tensor]


class Adapting(nn.Module):
    """Two layers whose readout makes one gradient step on each task's own examples."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, WIDTH, bias=False)
        self.readout = nn.Parameter(torch.zeros(WIDTH))
        nn.init.normal_(self.first.weight, std=start / INPUTS**0.5)

    def forward(self, x: Tensor, y: Tensor, asked: Tensor) -> Tensor:
        """Answers for the inputs that are asked, after a step on (x, y)."""
        seen, new = (torch.erf(self.first(part)) / WIDTH**0.5 for part in (x, asked))
        missed = y - seen @ self.readout
        step = WIDTH * torch.einsum("tsw,ts->tw", seen, missed) / EXAMPLES
        return torch.einsum("tqw,tw->tq", new, self.readout + step)


def tasks(shared: Tensor, count: int) -> Tasks:
    """Examples with labels, and inputs that are asked; their labels."""
    x = torch.randn(count, EXAMPLES + ASKED, INPUTS)
    y = torch.einsum("tsm,tm->ts", torch.erf(x @ shared), torch.randn(count, SHARED))
    few, rest = slice(EXAMPLES), slice(EXAMPLES, None)
    return (x[:, few], y[:, few], x[:, rest]), y[:, rest]


def run(seed: int, size: Size) -> Run:
    """Of both starts: the share of the first layer in the span of B, and errors on new tasks."""
    found: Run = {}
    for name, start in STARTS.items():
        torch.manual_seed(seed)
        span = torch.linalg.qr(torch.randn(INPUTS, SHARED))[0]
        new, answers = tasks(1.5 * span, 300)
        model = Adapting(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        probe = lr.Probe(model, tasks(1.5 * span, TASKS[size]), seed=seed)
        probe.forecast(optimizer=optimizer, max_steps=100)
        due, missed, overlap = lr.log_spaced(1, STEPS[size], 10), [], []
        for step in range(STEPS[size] + 1):
            if step == 0 or due(step):
                probe.measure(step, optimizer=optimizer)
                with torch.no_grad():
                    error = (model(*new) - answers).square().mean() / answers.square().mean()
                    w = model.first.weight
                    missed.append(float(error))
                    overlap.append(float((w @ span).square().sum() / w.square().sum()))
            given, right = tasks(1.5 * span, TASKS[size])
            optimizer.zero_grad()
            (model(*given) - right).square().mean().backward()
            optimizer.step()
        found |= {
            f"{name}/error_on_new_tasks": missed[-1],
            f"{name}/share_in_the_span_of_b_at_first": overlap[0],
            f"{name}/share_in_the_span_of_b": overlap[-1],
            **told(probe, f"{name}/"),
            f"{name}/error_curve": missed,
            f"{name}/share_curve": overlap,
            f"{name}/steps": [float(step) for step in probe.history.step],
        }
    return found


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """The representation, and what new tasks make of it."""
    median = record["summary"]
    for name in STARTS:
        steps = median[f"{name}/steps"][1:]
        for ax, key in zip(axes, ("share_curve", "error_curve"), strict=True):
            ax.plot(steps, median[f"{name}/{key}"][1:], label=name.replace("_", " "))
    for ax, label in zip(axes, ("share of W in the span of B", "error on new tasks"), strict=True):
        ax.set(xscale="log", xlabel="step of meta-training", ylabel=label)
        plot.legend(ax)


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)

"""The run behind figure 1: a linear network in PyTorch beside its exact solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn

import lazyrich as lr
from lazyrich import sweeps
from lazyrich.theory import two_layer_linear as linear

INPUTS, SAMPLES, MOMENTS = 5, 16, (1.0, 1.0, 1.1)  # of the data on a line: E[a²], E[ay], E[y²]
RECORDS = 32
LEARNED = 3.0  # a run lasts so many times as the exact solution needs for nine tenths of its change


@dataclass(frozen=True, kw_only=True)
class OnALine:
    """A two-layer linear network, trained by plain PyTorch, beside its exact solution.

    Data `x = a n` lie on a line in five dimensions. The weights are drawn as the parametrisation
    says; full-batch gradient descent runs in float64 with steps so small that a unit of time, one
    step of the parametrisation's own learning rate, holds many of them.

    Attributes:
        preset: name of the parametrisation in `lazyrich.PRESETS`.
        width: d.
        between: steps between two of the 32 records; the step size is the inverse of it.
        seed: of weights and data.
    """

    preset: str
    width: int
    between: int
    seed: int

    def run(self) -> sweeps.Result:
        """Train, solve, and compare."""
        rng = np.random.default_rng([self.seed, self.width, list(lr.PRESETS).index(self.preset)])
        law = lr.PRESETS[self.preset]
        x, y, normal = _line(rng)
        d = self.width
        u = rng.normal(size=(1, d)) * law.init_var_u.at(d) ** 0.5
        w = rng.normal(size=(d, INPUTS)) * law.init_var_w.at(d) ** 0.5
        state = linear.LineState.from_weights(u[0], w @ normal)
        aa, ay, yy = MOMENTS
        data = linear.LineData(mean_aa=aa, mean_ay=ay, mean_yy=yy)
        network = law.network(d)
        until = LEARNED * float(linear.time_to_residual(state, network, data, 0.1))
        count = RECORDS * self.between
        step = until / count
        trained = _descend(x, y, u, w, network, step, self.between, normal)
        exact = linear.flow(state, network, data, np.linspace(0, until, RECORDS + 1))
        small = linear.LinearNetwork(
            output_scale=network.output_scale, lr_u=network.lr_u * step, lr_w=network.lr_w * step
        )
        stepped = linear.descent(state, small, data, steps=count, every=self.between)
        wide = linear.descent(_typical(law, d), small, data, steps=count, every=self.between)
        distance = abs(ay / aa - float(exact.end_to_end_map[0]))
        found = {
            "step_size": step,
            "flow_error": np.abs(trained["output"] - exact.end_to_end_map.values).max() / distance,
            "descent_error": np.abs(trained["output"] - stepped.end_to_end_map.values).max()
            / distance,
            "alignment_error": np.abs(trained["alignment"] - exact.alignment.values).max(),
            "from_typical": np.abs(trained["alignment"] - wide.alignment.values).max(),
            "ntk_change": float(exact.ntk_change[-1]),
        }
        curves = {
            **{name: ("record", values) for name, values in trained.items()},
            "exact_output": ("record", exact.end_to_end_map.values),
            "exact_alignment": ("record", exact.alignment.values),
            "at": ("record", exact.time.values),
        }
        return sweeps.Result(
            status="finished", sentence="trained to the end", data=xr.Dataset({**curves, **found})
        )


def _line(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs on a line with exactly the moments that are wanted, targets, and the direction."""
    aa, ay, yy = MOMENTS
    a, noise = rng.normal(size=(2, SAMPLES))
    a *= (aa / np.mean(a**2)) ** 0.5
    noise -= a * np.mean(a * noise) / aa
    noise *= ((yy - ay**2 / aa) / np.mean(noise**2)) ** 0.5
    normal = rng.normal(size=INPUTS)
    normal /= np.linalg.norm(normal)
    return a[:, None] * normal, a * ay / aa + noise, normal


def _typical(law: lr.ScalingLaw, d: int) -> linear.LineState:
    """The network with the expected norms and orthogonal layers."""
    uu, ww = (float(d * var.at(d)) for var in (law.init_var_u, law.init_var_w))
    return linear.LineState(uu=uu, uw=0.0, ww=ww)


def _descend(
    x: np.ndarray,
    y: np.ndarray,
    u: np.ndarray,
    w: np.ndarray,
    network: linear.LinearNetwork,
    step: float,
    between: int,
    normal: np.ndarray,
) -> dict[str, np.ndarray]:
    """Output per unit input and alignment along the line, while PyTorch trains."""
    first = nn.Linear(INPUTS, len(w), bias=False, dtype=torch.float64)
    second = nn.Linear(len(w), 1, bias=False, dtype=torch.float64)
    first.weight.data, second.weight.data = torch.from_numpy(w), torch.from_numpy(u)
    scale, direction = float(network.output_scale), torch.from_numpy(normal)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)[:, None]
    optimizer = torch.optim.SGD(
        [
            {"params": first.parameters(), "lr": float(network.lr_w) * step},
            {"params": second.parameters(), "lr": float(network.lr_u) * step},
        ]
    )
    rows = []
    for count in range(RECORDS * between + 1):
        if count % between == 0:
            with torch.no_grad():
                a, b = second.weight[0], first.weight @ direction
                rows.append((float(scale * (a @ b)), float(a @ b / (a.norm() * b.norm()))))
        optimizer.zero_grad()
        (scale * second(first(inputs)) - targets).square().mean().backward()
        optimizer.step()
    output, alignment = np.array(rows).T
    return {"output": output, "alignment": alignment}

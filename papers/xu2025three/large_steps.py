"""The run behind figure 8: the uv model of the catapult, the paper's network on one input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from lazyrich import sweeps
from lazyrich.theory import two_layer_linear as linear

STEPS = 200
FAR = 1e8  # of w, from which a run counts as diverged
ONE_SAMPLE = {"mean_aa": 1.0, "mean_ay": 0.0, "mean_yy": 0.0}  # input 1, target 0


@dataclass(frozen=True, kw_only=True)
class LargeSteps:
    """`f = u·w x/√d` learns the target 0 on the input 1, by PyTorch, with steps of any size.

    Weights are standard normal: the NTK parametrisation, the paper's kernel phase. Beside it the
    exact recursion of the paper's network with output scale 1/√d, and the map of Lewkowycz et al.

    Attributes:
        width: d.
        curvature: z, the learning rate of ½f² times the kernel at the start.
        seed: of the weights.
    """

    width: int
    curvature: float
    seed: int

    def run(self) -> sweeps.Result:
        """Step, and compare with the recursion and with the map."""
        rng = np.random.default_rng([self.seed, self.width])
        u, w = (torch.from_numpy(rng.normal(size=self.width)) for _ in range(2))
        scale = self.width**-0.5
        rate = self.curvature / (scale**2 * float(u @ u + w @ w))
        rows = _descend(u, w, scale, rate)
        z, f, alignment, norms = rows.T
        state = linear.LineState.from_weights(u.numpy(), w.numpy())
        network = linear.LinearNetwork(output_scale=scale, lr_u=rate / 2, lr_w=rate / 2)
        exact = linear.descent(state, network, linear.LineData(**ONE_SAMPLE), steps=len(z) - 1)
        exact_z = rate * scale**2 * (exact.uu + exact.ww).values
        mapped = _map(z[0], (rate * scale * f[0]) ** 2, len(z))
        largest = np.abs(f).max()
        data = {
            "recursion_error": max(
                np.abs(exact_z / z - 1).max(),
                np.abs(exact.end_to_end_map.values - f).max() / largest,
            ),
            "map_error": np.abs(mapped / z - 1).max(),
            "converged": float(len(z) == STEPS + 1),
            "last_curvature": z[-1],
            "loss_rise": (f**2).max() / f[0] ** 2,
            "largest_alignment": np.abs(alignment).max(),
            "last_alignment": abs(alignment[-1]),
            "log_norms_change": np.log(norms[-1] / norms[0]),
            "ntk_change": abs(z[-1] / z[0] - 1),
        }
        curves = {
            name: ("step", np.pad(part, (0, STEPS + 1 - len(z)), constant_values=np.nan))
            for name, part in (("curvature_at", z), ("alignment_at", np.abs(alignment)))
        }
        return sweeps.Result(
            status="finished" if data["converged"] else "diverged",
            sentence="stepped to the end" if data["converged"] else f"Diverged at step {len(z)}.",
            data=xr.Dataset({**data, **curves}),
        )


def _descend(u: torch.Tensor, w: torch.Tensor, scale: float, rate: float) -> np.ndarray:
    """z, f, ζ and ‖u‖‖w‖ at every step, until w = (η f)²/d is far."""
    a, b = (part.clone().requires_grad_() for part in (u, w))
    optimizer = torch.optim.SGD([a, b], lr=rate)
    rows = []
    for _ in range(STEPS + 1):
        f = scale * (a @ b)
        output, sizes = f.item(), (a.detach().norm().item(), b.detach().norm().item())
        product = sizes[0] * sizes[1]
        z = rate * scale**2 * (sizes[0] ** 2 + sizes[1] ** 2)
        rows.append((z, output, output / (scale * product), product))
        if (rate * scale * output) ** 2 > FAR:
            break
        optimizer.zero_grad()
        (f**2 / 2).backward()
        optimizer.step()
    return np.array(rows)


def _map(z: float, w: float, count: int) -> np.ndarray:
    """The z of the parameter-free map `z⁺ = z + w (z − 4)`, `w⁺ = w (1 − z + w)²`."""
    found = []
    for _ in range(count):
        found.append(z)
        z, w = z + w * (z - 4), w * (1 - z + w) ** 2
    return np.array(found)


def phase(curvature: float) -> str:
    """Of a start with a small output: Lewkowycz et al., in the wide limit."""
    if curvature < 2:
        return "lazy"
    return "catapult" if curvature < 4 else "divergent"

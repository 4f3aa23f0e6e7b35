"""The run behind figure 3: how the two layers of a network turn and grow while it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import study, sweeps
from lazyrich.theory import two_layer_linear as linear

Task = Literal["regression", "classification"]

SAMPLES, FLIPPED = 40, 0.1
RECORDS = 60
LAYERS = ("alignment", "uu", "ww")
SPEED = {"regression": 0.1, "classification": 0.4}  # the losses' curvatures are 2 and ≤ 1/2
LEAK = 0.1
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    **{"linear": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh},
    **{"leaky_relu": lambda: nn.LeakyReLU(LEAK), "swish": nn.SiLU, "sigmoid": nn.Sigmoid},
}
# of the linear network with the same dynamics: for (leaky) ReLU of two halves of neurons that see
# one sign of the input each, for the others of small inputs
SLOPES = {
    **{"linear": 1.0, "relu": 0.5, "tanh": 1.0},
    **{"leaky_relu": (1 + LEAK) / 2, "swish": 0.5, "sigmoid": 0.25},
}
AT_ZERO = {"sigmoid": 0.5}  # φ(0), where it is not 0: a direction in which the kernel is φ(0)² d


@dataclass(frozen=True)
class Start:
    """How a network of width d starts.

    Attributes:
        size: ‖u‖‖w‖ of each output, which is also the size of the initial kernel's half trace.
        alignment: cosine between the layers, None for independent Gaussian layers.
    """

    size: float
    alignment: float | None = None


STARTS = {
    "small": Start(0.01),
    "medium": Start(1.0),
    "large": Start(100.0),
    "aligned": Start(0.1, 1.0),
    "overshooting": Start(10.0, 0.9),
}


@dataclass(frozen=True, kw_only=True)
class TwoLayers:
    """A network f(x) = u·φ(w x) of a given width and start on inputs on a line.

    Regression learns y = x. Classification learns the sign of x with a tenth of the labels flipped,
    by cross-entropy over two outputs, so that the best output is finite. Full-batch gradient
    descent, with a step in terms of the larger of the kernel at the start and at the end. Beside
    regression runs the theory: the exact recursion of the linear network of output scale γφ', from
    the same weights and with the same steps. Cross-entropy has no closed form.

    Attributes:
        task: which.
        activation: φ.
        start: a key of `STARTS`, or "ntk": Gaussian weights of variance 1 and output scale 1/√d.
        width: d.
        steps: of gradient descent.
        seed: of weights and data.
    """

    task: Task
    activation: Literal["linear", "relu", "tanh", "leaky_relu", "swish", "sigmoid"]
    start: str
    width: int
    steps: int = 600
    seed: int

    def run(self) -> sweeps.Result:
        """Forecast, train, and follow ζ and the norms of both layers."""
        rng = np.random.default_rng(
            [self.seed, self.width, list(ACTIVATIONS).index(self.activation)]
        )
        x, y = _data(self.task, rng)
        outputs = 1 if self.task == "regression" else 2
        u, w, scale = _weights(self.start, self.width, outputs, rng)
        model = _Scaled(u, w, ACTIVATIONS[self.activation](), scale)
        loss = "squared_error" if self.task == "regression" else "cross_entropy"
        rate = self._rate(u, w, scale)
        probe = lr.Probe(
            model,
            (x, y),
            loss=loss,
            observables=("ntk_change", "loss"),
            samples=SAMPLES,
            lrs={"": 1.0},
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        theory = self._theory(u, w, scale, rate)
        rho = lr.richness(model, (x, y), loss, optimizer=optimizer, directions=4)
        probe.measure(0)
        curves, loss = self._trained(model, optimizer, (x, y))
        probe.measure(self.steps)
        data = _summary(curves, probe.history).assign(
            theory_alignment=("step", theory),
            from_theory=float(np.abs(curves.alignment.values - theory).max()),
            largest_input=_largest_input(model, x),
            richness=rho,
            last_loss=loss,
        )
        return sweeps.Result(status="finished", sentence="trained to the end", data=data)

    def _rate(self, u: Tensor, w: Tensor, scale: float) -> float:
        """Learning rate, from the larger of the kernel at the start and at the end."""
        offset = self.width * AT_ZERO.get(self.activation, 0.0) ** 2
        norms = float((u**2).sum()) / len(u) + float((w**2).sum())
        return SPEED[self.task] / max(scale**2 * (norms + offset), 4 * scale)

    def _theory(self, u: Tensor, w: Tensor, scale: float, rate: float) -> np.ndarray:
        """Alignment ζ of the linear network over the recorded steps; NaN for classification."""
        if self.task == "classification":
            return np.full(len(self._recorded), np.nan)
        slope = scale * SLOPES[self.activation]
        found = linear.descent(
            linear.LineState.from_weights(u[0].numpy(), w.numpy()),
            linear.LinearNetwork(output_scale=slope, lr_u=rate, lr_w=rate),
            linear.LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0),
            steps=self.steps,
        )
        return found.alignment.values[self._recorded]

    @property
    def _recorded(self) -> list[int]:
        return np.unique(np.linspace(0, self.steps, RECORDS + 1).astype(int)).tolist()

    def _trained(
        self, model: _Scaled, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor]
    ) -> tuple[xr.Dataset, float]:
        """Train to the end: ζ and the norms of both layers over the steps, and the last loss."""
        loss = "squared_error" if self.task == "regression" else "cross_entropy"
        due = set(self._recorded)
        rows, at = [], []
        for step in range(self.steps + 1):
            if step in due:
                rows.append(_layers(model))
                at.append(step)
            optimizer.zero_grad()
            value = study.loss_value(loss, model(data[0]), data[1])
            value.backward()
            if step < self.steps:
                optimizer.step()
        curves = zip(LAYERS, np.array(rows).T, strict=True)
        seen = xr.Dataset({name: ("step", part) for name, part in curves}, coords={"step": at})
        return seen, float(value.detach())


def _summary(curves: xr.Dataset, history: xr.Dataset) -> xr.Dataset:
    """The layers over the steps, what each mechanism did and when, and what came of it."""
    found = lr.mechanisms(curves)
    return xr.Dataset(
        {
            **{name: ("step", curves[name].values) for name in LAYERS},
            "change": ("mechanism", found.mechanism_change.values),
            "from": ("mechanism", found.window_start.values),
            "until": ("mechanism", found.window_stop.values),
            "ntk_change": float(history.isel(step=-1).ntk_change),
            "first_loss": float(history.loss[0]),
        },
        coords={"step": curves.step.values, "mechanism": found.mechanism.values.astype(str)},
    )


class _Scaled(nn.Module):
    """γ U φ(w x), the weights given."""

    def __init__(self, u: Tensor, w: Tensor, activation: nn.Module, scale: float) -> None:
        super().__init__()
        self.first = nn.Linear(1, len(w), bias=False, dtype=torch.float64)
        self.second = nn.Linear(len(w), len(u), bias=False, dtype=torch.float64)
        self.first.weight.data, self.second.weight.data = w[:, None].clone(), u.clone()
        self.activation, self.scale = activation, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.second(self.activation(self.first(x)))


def _layers(model: _Scaled) -> tuple[float, float, float]:
    """ζ = ‖Uw‖/(‖U‖‖w‖), signed for one output, and the squared norms of both layers."""
    u, w = model.second.weight.detach(), model.first.weight.detach()[:, 0]
    product = u @ w
    size = float(product[0]) if len(u) == 1 else float(product.norm())
    return size / float(u.norm() * w.norm()), float(u.norm() ** 2), float(w.norm() ** 2)


def _largest_input(model: _Scaled, x: Tensor) -> float:
    """Largest |w x| of any neuron and sample: where it is small, smooth activations are linear."""
    with torch.no_grad():
        return float(model.first(x).abs().max())


def _data(task: Task, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    x = rng.normal(size=SAMPLES)
    x /= np.sqrt(np.mean(x**2))
    inputs = torch.from_numpy(x)[:, None]
    if task == "regression":
        return inputs, inputs.clone()
    flipped = rng.permutation(SAMPLES) < FLIPPED * SAMPLES
    return inputs, torch.from_numpy((x > 0) ^ flipped).long()


def _weights(
    name: str, d: int, outputs: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, float]:
    """U (outputs, d), w (d,) and the output scale."""
    u, w = rng.normal(size=(outputs, d)), rng.normal(size=d)
    if name == "ntk":
        return torch.from_numpy(u), torch.from_numpy(w), d**-0.5
    start = STARTS[name]
    if start.alignment is not None:
        signs = np.array([[1.0]]) if outputs == 1 else np.array([[-1.0], [1.0]])
        c = start.alignment
        u = signs * (c * w + (1 - c**2) ** 0.5 * rng.normal(size=d))
    size = (start.size / d) ** 0.5
    return torch.from_numpy(u * size), torch.from_numpy(w * size), 1.0

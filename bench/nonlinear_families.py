"""Nonlinear networks over the three regimes, and what explicit Jacobians say of each.

Used by `calibrate_verdict`. The truth is code of this file alone: Jacobians by `torch.func`,
kernels by a matrix product. A network's output is `γ (h − h₀)`; its scale γ sets the regime.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel

SAMPLES = 24


class Attention(nn.Module):
    """One head, its residual and a norm, with positions of its own; then a mean and a readout."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(4, width)
        self.position = nn.Parameter(0.1 * torch.randn(4, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x.view(-1, 4, 4)) + self.position
        n = self.norm(h)
        h = h + self.attention(n, n, n, need_weights=False)[0]
        return self.readout(h.mean(1))


def _mlp(activation: type[nn.Module]) -> Callable[[int], nn.Module]:
    def build(outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(16, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, outputs)
        )

    return build


def _cnn(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, outputs),
    )  # fmt: skip


def _batch_norm(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
        nn.Linear(32, outputs),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[int], nn.Module]] = {
    "MLP, tanh": _mlp(nn.Tanh),
    "MLP, ReLU": _mlp(nn.ReLU),
    "CNN": _cnn,
    "transformer": lambda outputs: Attention(16, outputs),
    "batch norm": _batch_norm,
}


class Centred(nn.Module):
    """`γ (h − h₀)`."""

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.start = copy.deepcopy(network).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (self.network(x) - self.start(x))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A network before training.

    Attributes:
        family: its name.
        optimizer: "SGD" or "Adam".
        scale: γ.
        outputs: with 1 all output directions are taken, with 10 random ones.
        model: it.
        x: probe and training samples.
        y: targets.
        rate: learning rate.
    """

    family: str
    optimizer: str
    scale: float
    outputs: int
    model: nn.Module
    x: Tensor
    y: Tensor
    rate: float

    def begin(self) -> torch.optim.Optimizer:
        """The optimiser."""
        kind = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[self.optimizer]
        return kind([p for p in self.model.parameters() if p.requires_grad], lr=self.rate)


def runs(number: int, seed: int) -> Iterator[Run]:
    """Random networks, in turn of every family and optimiser; scales over three decades."""
    torch.manual_seed(seed)
    kinds = [(f, o, k) for f in FAMILIES for o in ("SGD", "Adam") for k in (1, 10)]
    for i in range(number):
        family, optimizer, outputs = kinds[i % len(kinds)]
        scale = float(10 ** (3 * torch.rand(()) - (1.2 if optimizer == "SGD" else 0.9)))
        x = torch.randn(SAMPLES, 16)
        y = torch.tanh(x @ torch.randn(16, outputs)) * torch.sign(x[:, :1])
        model = Centred(FAMILIES[family](outputs), scale)
        rate = 0.5 / _sharpness(model, x) if optimizer == "SGD" else 3e-3 / max(scale, 0.3)
        yield Run(
            family=family, optimizer=optimizer, scale=scale, outputs=outputs,
            model=model, x=x, y=y, rate=rate,
        )  # fmt: skip


def _sharpness(model: nn.Module, x: Tensor) -> float:
    """Largest eigenvalue of the mean squared error's Hessian at the start, 2Θ/(nk)."""
    theta = kernel(model, x)
    return 2 * float(torch.linalg.matrix_norm(theta, 2)) / len(theta)


def kernel(model: nn.Module, x: Tensor) -> Tensor:
    """Θ as a matrix, by explicit Jacobians of all that learns; batch statistics are constants."""
    model = _settled(model, x)
    learning = {n: p.detach().double() for n, p in model.named_parameters() if p.requires_grad}
    fixed = {n: p.detach().double() for n, p in model.named_parameters() if not p.requires_grad}
    fixed |= {n: b.double() if b.is_floating_point() else b for n, b in model.named_buffers()}

    def f(theta: dict[str, Tensor]) -> Tensor:
        return functional_call(model, {**fixed, **theta}, (x.double(),)).flatten()

    with sdpa_kernel(SDPBackend.MATH):
        J = torch.cat([j.flatten(1) for j in jacrev(f, chunk_size=16)(learning).values()], 1)
    return J @ J.T


def _settled(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy in evaluation mode whose running statistics are those of these samples."""
    model = copy.deepcopy(model).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(x)
    for norm in norms:
        assert norm.running_var is not None
        norm.running_var.mul_((len(x) - 1) / len(x))  # normalising takes the biased one
    return model.eval()


def truth_of(start: Tensor, end: Tensor) -> float:
    """‖Θ − Θ₀‖/‖Θ₀‖."""
    return float((end - start).norm() / start.norm())


def turn_between_samples(start: Tensor, end: Tensor, samples: int) -> float:
    """1 − cos of HΘ₀H and HΘH with an explicit H."""
    k = len(start) // samples
    H = torch.kron(torch.eye(samples) - 1 / samples, torch.eye(k)).double()
    a, b = H @ start @ H, H @ end @ H
    return float(1 - (a * b).sum() / a.norm() / b.norm())

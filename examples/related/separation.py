"""Pushing samples apart in a latent space makes the latents say more than the labels ask for.

Tuan, Chiu & Wang, arXiv:2210.03728, distance samples in the latent space dynamically, by what their
parts are. We keep the bare idea, a repulsion Σexp(−‖z − z′‖²) between all pairs in the loss, and
ask what it does to test accuracy, to kinds of samples that no label names, and to the features of
each layer. Three classes hold four kinds each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from _run import Run, Size, main, told
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lazyrich as lr
from lazyrich import plot

INPUTS, WIDTH, LATENT, CLASSES, KINDS, NOISE, RATE = 20, 64, 4, 3, 4, 0.6, 0.1
SAMPLES: dict[Size, int] = {"smoke": 60, "full": 240}
STEPS: dict[Size, int] = {"smoke": 10, "full": 400}
STRENGTHS = {"apart": 3.0, "plain": 0.0}


class Latents(nn.Module):
    """An encoder and a linear head; the output is both, logits first."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, LATENT))
        self.head = nn.Linear(LATENT, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits and latents."""
        z = self.encoder(x)
        return torch.cat([self.head(z), z], 1)


def loss(strength: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy and repulsion, of all pairs of samples."""

    def value(outputs: Tensor, labels: Tensor) -> Tensor:
        logits, z = outputs[:, :CLASSES], outputs[:, CLASSES:]
        near = (-(z[:, None] - z[None]).square().sum(-1)).exp()
        return cross_entropy(logits, labels) + strength * near.mean()

    return value


def nearest_of_a_kind(z: Tensor, kind: Tensor) -> float:
    """How often the nearest latent is of the same kind; by chance every fourth of a class is."""
    apart = torch.cdist(z, z).fill_diagonal_(float("inf"))
    return (kind[apart.argmin(1)] == kind).float().mean().item()


def run(seed: int, size: Size) -> Run:
    """With repulsion and without: accuracy, kinds, and the verdict on both layers."""
    found: Run = {}
    for name, strength in STRENGTHS.items():
        torch.manual_seed(seed)
        centres = torch.randn(CLASSES * KINDS, INPUTS)
        kind = torch.randint(CLASSES * KINDS, (2 * SAMPLES[size],))
        x, labels = centres[kind] + NOISE * torch.randn(len(kind), INPUTS), kind % CLASSES
        train, test = slice(SAMPLES[size]), slice(SAMPLES[size], None)
        model, value = Latents(), loss(strength)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        probe = lr.Probe(model, (x[train], labels[train]), value, directions="all", seed=seed)
        probe.forecast(optimizer=optimizer, steps=STEPS[size])
        with probe.watch(optimizer, when=lr.log_spaced(1, STEPS[size], 10)):
            for _ in range(STEPS[size]):
                optimizer.zero_grad()
                value(model(x[train]), labels[train]).backward()
                optimizer.step()
        with torch.no_grad():
            outputs = model(x[test])
        right = outputs[:, :CLASSES].argmax(1) == labels[test]
        found |= {
            f"{name}/test_accuracy": right.float().mean().item(),
            f"{name}/nearest_of_a_kind": nearest_of_a_kind(outputs[:, CLASSES:], kind[test]),
            **told(probe, f"{name}/"),
            f"{name}/ntk_change_curve": probe.history.ntk_change.values.tolist(),
            f"{name}/steps": [float(step) for step in probe.history.step],
        }
    return found


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """Kinds in the latents, a point a seed, and the change of the kernel."""
    for place, name in enumerate(STRENGTHS):
        values = [one[f"{name}/nearest_of_a_kind"] for one in record["runs"]]
        axes[0].plot([place] * len(values), values, "o", alpha=0.6)
        median = record["summary"]
        axes[1].plot(
            median[f"{name}/steps"][1:], median[f"{name}/ntk_change_curve"][1:], label=name
        )
    axes[0].set_xticks(range(len(STRENGTHS)), list(STRENGTHS))
    axes[0].set(xlim=(-0.5, 1.5), ylabel="nearest latent is of the same kind")
    axes[1].set(xscale="log", yscale="log", xlabel="step", ylabel="‖ΔΘ‖/‖Θ₀‖")
    plot.legend(axes[1])


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)

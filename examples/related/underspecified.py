"""Which of two equally good features a network takes depends on how the data represent them.

Ortiz-Jimenez et al., arXiv:2104.14542, show how much the handling of underspecified problems
depends on the representation. A slow and a fast wave give the class equally well. A convolutional
and a fully connected network see the same samples as they are and in another orthonormal basis: by
which wave does each decide where they contradict each other?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from _run import Run, Size, main, told
from matplotlib.axes import Axes
from torch import Tensor, nn

import lazyrich as lr

PLACES, NOISE, MARGIN, RATE, TEST = 32, 0.5, 2.0, 0.02, 1000
SAMPLES: dict[Size, int] = {"smoke": 40, "full": 200}
STEPS: dict[Size, int] = {"smoke": 10, "full": 300}
NETWORKS = ("convolutional", "fully_connected")
BASES = ("as_they_are", "rotated")


def waves() -> Tensor:
    """A slow and a fast wave along the places, of length 1."""
    turn = 2 * torch.pi * torch.arange(PLACES) / PLACES
    both = torch.stack([turn.cos(), (PLACES // 2 - 2) * turn])
    both[1] = both[1].cos()
    return both / both.norm(dim=1, keepdim=True)


def drawn(samples: int, contradict: bool) -> tuple[Tensor, Tensor]:
    """Samples, and the class by the slow wave; the fast one says the same or the contrary."""
    y = torch.randint(2, (samples, 1)) * 2.0 - 1
    fast = -y if contradict else y
    signal = MARGIN * torch.cat([y, fast], 1) @ waves()
    noise = NOISE * torch.randn(samples, PLACES)
    return signal + noise - noise @ waves().T @ waves(), y


def network(name: str) -> nn.Module:
    """Of one output."""
    if name == "fully_connected":
        return nn.Sequential(nn.Linear(PLACES, 64), nn.ReLU(), nn.Linear(64, 1))
    return nn.Sequential(
        nn.Unflatten(1, (1, PLACES)),
        nn.Conv1d(1, 16, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.AvgPool1d(4),
        nn.Flatten(),
        nn.Linear(16 * PLACES // 4, 1),
    )


def run(seed: int, size: Size) -> Run:
    """Of both networks in both bases: which wave decides, from −1 to 1, and the verdict."""
    found: Run = {}
    for name in NETWORKS:
        for basis in BASES:
            torch.manual_seed(seed)
            x, y = drawn(SAMPLES[size], contradict=False)
            other, slow = drawn(TEST, contradict=True)
            turned = torch.linalg.qr(torch.randn(PLACES, PLACES))[0]
            shown = turned if basis == "rotated" else torch.eye(PLACES)
            model = network(name)
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            probe = lr.Probe(model, (x @ shown, y), seed=seed)
            probe.forecast(optimizer=optimizer, steps=STEPS[size])
            with probe.watch(optimizer, when=lr.at(STEPS[size])):
                for _ in range(STEPS[size]):
                    optimizer.zero_grad()
                    (model(x @ shown) - y).square().mean().backward()
                    optimizer.step()
            with torch.no_grad():
                agreed = (model(x @ shown) * y).mean()
                slower = (model(other @ shown) * slow).mean() / agreed
            found |= {
                f"{name}/{basis}/slow_rather_than_fast": float(slower),
                **told(probe, f"{name}/{basis}/"),
            }
    return found


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """What decides, and how far the kernel moved; a point a seed."""
    names = [f"{name}/{basis}" for name in NETWORKS for basis in BASES]
    for ax, key in zip(axes, ("slow_rather_than_fast", "ntk_change"), strict=True):
        for place, name in enumerate(names):
            values = [one[f"{name}/{key}"] for one in record["runs"]]
            ax.plot([place] * len(values), values, "o", alpha=0.6)
        labels = [name.replace("_", " ").replace("/", "\n") for name in names]
        ax.set_xticks(range(len(names)), labels, fontsize=6)
    axes[0].set(ylim=(-1.05, 1.05), ylabel="decided by the slow (1) or fast (−1) wave")
    axes[1].set(yscale="log", ylabel="‖ΔΘ‖/‖Θ₀‖")


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)

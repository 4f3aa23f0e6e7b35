"""How often the interval of the kernel's change holds what it is for, over many draws of samples.

python bench/interval_coverage.py [DRAWS]      print the table; 400 draws by default

A small network is trained on a pool of inputs; its kernels before and after, on all of them, give
the change of many samples. Each draw takes a few samples, and directions as a probe would; counted
is whether the interval holds the change of many samples, and that of all outputs on these samples.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

import lazyrich
from lazyrich.observables import block_squares, change_interval, pair_sums

POOL, DIRECTIONS = 300, 4
SAMPLES, OUTPUTS = (8, 16, 32), (1, 3, 10)
F64 = torch.float64


def gaussian(n: int) -> Tensor:
    return torch.randn(n, 6, dtype=F64)


def clustered(n: int) -> Tensor:
    centres = 3 * torch.randn(4, 6, dtype=F64)
    return centres[torch.randint(4, (n,))] + 0.3 * gaussian(n)


def heavy_tailed(n: int) -> Tensor:
    """Student's t with three degrees of freedom."""
    return gaussian(n) / (torch.randn(n, 3, dtype=F64).square().mean(1, keepdim=True)).sqrt()


def large_diagonal(n: int) -> Tensor:
    """So many dimensions that samples hardly see each other."""
    return torch.randn(n, 60, dtype=F64)


INPUTS: dict[str, tuple[Callable[[int], Tensor], float]] = {
    "Gaussian": (gaussian, 0.2),
    "clustered": (clustered, 0.05),
    "heavy-tailed": (heavy_tailed, 0.05),
    "large diagonal": (large_diagonal, 0.2),
}
"""How inputs are drawn, and the learning rate."""


def kernels(inputs: str, outputs: int) -> tuple[Tensor, Tensor]:
    """Θ before and after 40 steps, on the pool."""
    torch.manual_seed(1)
    draw, rate = INPUTS[inputs]
    x = draw(POOL)
    d = x.shape[1]
    y = torch.tanh(2 * x @ torch.randn(d, outputs, dtype=F64) / d**0.5)
    model = nn.Sequential(nn.Linear(d, 24), nn.Tanh(), nn.Linear(24, outputs)).double()
    before, optimizer = copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(40):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    return lazyrich.ntk(before, x), lazyrich.ntk(model, x)


def coverage(start: Tensor, now: Tensor, samples: int, draws: int) -> tuple[float, float]:
    """The shares of draws whose interval holds the change of many samples, and of all outputs."""
    generator = torch.Generator().manual_seed(0)
    outputs, random = start.shape[1], start.shape[1] > DIRECTIONS
    apart = (1 - torch.eye(POOL, dtype=F64))[:, None, :, None]
    truth = float(((now - start) * apart).norm() / (start * apart).norm())
    of_many = of_these = 0
    for _ in range(draws):
        index = torch.randperm(POOL, generator=generator)[:samples]
        pair = [k[index][:, :, index] for k in (start, now)]
        exact = float((pair[1] - pair[0]).norm() / pair[0].norm())
        if random:
            signs = torch.randint(0, 2, (samples, DIRECTIONS, outputs), generator=generator)
            v = signs.to(F64) * 2 - 1
            pair = [torch.einsum("iac,icjd,jbd->iajb", v, k, v) for k in pair]
        change, size = (
            pair_sums(block_squares(k, random=random)) for k in (pair[1] - pair[0], pair[0])
        )
        found = change_interval(change, size, random=random)
        of_many += bool(found.low <= truth <= found.high)
        of_these += bool(found.low <= exact <= found.high)
    return of_many / draws, of_these / draws


def main() -> None:
    """Print one line a setting, then the mean."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print("| inputs | outputs | samples | many samples | all outputs |\n|---|---|---|---|---|")
    found = []
    for inputs in INPUTS:
        for outputs in OUTPUTS:
            start, now = kernels(inputs, outputs)
            for samples in SAMPLES:
                both = coverage(start, now, samples, draws)
                found.append(both)
                print(f"| {inputs} | {outputs} | {samples} | {both[0]:.1%} | {both[1]:.1%} |")
    means = [sum(column) / len(found) for column in zip(*found, strict=True)]
    print(f"| mean | | | {means[0]:.1%} | {means[1]:.1%} |")


if __name__ == "__main__":
    main()

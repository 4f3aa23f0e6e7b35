"""Claim: ntk is > 100x faster than contracting torch.func's Jacobians, nfa beats perturbations.

Network 784-512-512-512-C (ReLU), float32, CPU. Each line: median and range of `rounds` interleaved
runs of both routes on the same machine, so that the ratio can be trusted more than the times.
The perturbation route is the one of arXiv:2402.05271's code: zero perturbations of all
pre-activations, vmap(jacrev), chunks of 128 samples; then K, WᵀKW and the d×d correlation.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import lazyrich


def network(outputs: int) -> nn.Sequential:
    sizes = [784, 512, 512, 512]
    hidden = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(512, outputs))


def kernel_by_jacobians(model: nn.Module, x: Tensor) -> Tensor:
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def one(p: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(model, p, (sample[None],))[0]

    found = torch.func.vmap(torch.func.jacrev(one), (None, 0))(parameters, x)
    flat = [j.flatten(2).flatten(0, 1) for j in found.values()]
    return sum(j @ j.T for j in flat).view(len(x), -1, len(x), flat[0].shape[0] // len(x))


def ansatz_by_perturbations(model: nn.Sequential, x: Tensor) -> list[float]:
    layers = [m for m in model if isinstance(m, nn.Linear)][:-1]

    def outputs(shifts: list[Tensor], h: Tensor) -> Tensor:
        left = iter(shifts)
        for module in model:
            h = module(h)
            if module in layers:
                h = h + next(left)
        return h

    shifts = [torch.zeros(layer.out_features) for layer in layers]
    covariances = [torch.zeros(s.numel(), s.numel()) for s in shifts]
    with torch.no_grad():
        for chunk in x.split(128):
            found = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(shifts, chunk)
            for k, g in zip(covariances, found, strict=True):
                k += g.flatten(0, 1).T @ g.flatten(0, 1)
        values = []
        for layer, k in zip(layers, covariances, strict=True):
            w = layer.weight
            f, g = w.T @ w, w.T @ k @ w
            values.append(float((f * g).sum() / (f.norm() * g.norm())))
    return values


def race(name: str, routes: dict[str, Callable[[], object]], rounds: int) -> None:
    times: dict[str, list[float]] = {route: [] for route in routes}
    for route in routes.values():
        route()  # warm-up
    for _ in range(rounds):
        for route, call in routes.items():
            start = time.perf_counter()
            call()
            times[route].append(time.perf_counter() - start)
    medians = {route: statistics.median(t) for route, t in times.items()}
    first = next(iter(medians.values()))
    for route, t in times.items():
        print(
            f"{name:24s} {route:14s} median {medians[route]:.4f} s "
            f"({min(t):.4f}..{max(t):.4f}, n={rounds})  {medians[route] / first:.1f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    model, x = network(10), torch.randn(1000, 784)

    def ours() -> Tensor:
        return lazyrich.ntk(model, x[:40])

    exact = kernel_by_jacobians(model, x[:40])
    print(
        f"relative difference of the kernels: {float((ours() - exact).norm() / exact.norm()):.1e}"
    )
    routes = {"lazyrich": ours, "torch.func": lambda: kernel_by_jacobians(model, x[:40])}
    race("ntk, 40 samples", routes, rounds)
    race("ntk, 200 samples", {"lazyrich": lambda: lazyrich.ntk(model, x[:200])}, rounds)
    for outputs in (10, 100):
        model = network(outputs)
        reference = ansatz_by_perturbations(model, x)
        table = lazyrich.nfa(model, x)
        print("probes − exact:", [f"{float(d):+.4f}" for d in table.nfa - reference])
        print("standard error:", [f"{float(e):.4f}" for e in table.stderr])
        routes = {
            "two probes": lambda m=model: lazyrich.nfa(m, x),
            "exact": lambda m=model: lazyrich.nfa(m, x, exact=True),
            "perturbations": lambda m=model: ansatz_by_perturbations(m, x),
        }
        race(f"nfa, {outputs} outputs", routes, rounds if outputs == 10 else 2)


if __name__ == "__main__":
    main()

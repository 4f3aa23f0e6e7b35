"""Self-supervised learning goes in steps, one eigenvalue of the embeddings' correlation at a time.

That Barlow Twins does so from a small start, as a kernel says, is the claim of Simon et al.,
arXiv:2303.15438. Here two tanh layers, narrow (rich) and wide (lazy), see pairs of shifted views of
handwritten digits; each step is foretold by the tangent kernel of the start.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import lazyrich as lr
from lazyrich.theory.barlow_twins import barlow_flow, barlow_start, barlow_times, kernel_views

SIZES = {"smoke": (30, 2, (16,)), "full": (300, 5, (16, 1024))}  # pairs, outputs, widths
COMMAND = "python examples/related/stepwise_ssl.py --out docs/records"
START, FINE, LOOKS = 1e-3, 100, 12  # readout, steps for the fastest mode, looks of the probe


def digit_pairs(seed: int, count: int) -> Tensor:
    """Two views of each digit, each shifted by up to a pixel, centred and of mean square one."""
    rng = np.random.default_rng(seed)
    images = np.pad(load_digits().images[rng.permutation(1797)[:count]], ((0, 0), (1, 1), (1, 1)))
    at = rng.integers(0, 3, (count, 2, 2))
    two = [[x[a : a + 8, b : b + 8] for a, b in s] for x, s in zip(images, at, strict=True)]
    views = np.reshape(two, (2 * count, 64)) - np.reshape(two, (2 * count, 64)).mean(0)
    return torch.tensor(views / np.sqrt((views**2).mean()), dtype=torch.float32).view(count, 128)


def correlation(outputs: Tensor) -> Tensor:
    """C of the embeddings of both views."""
    first, second = outputs.double().chunk(2, dim=1)
    return (first.T @ second + second.T @ first) / (2 * len(outputs))


def barlow(outputs: Tensor, _: object = None) -> Tensor:
    """`‖C − I‖²`."""
    return (correlation(outputs) - torch.eye(outputs.shape[1] // 2).double()).square().sum()


def train(seed: int, pairs: Tensor, width: int, outputs: int) -> dict[str, Any]:
    """The steps of one width, seen and foretold, and what lazyrich says of the run."""
    torch.manual_seed(seed)
    layers = nn.Linear(64, width, bias=False), nn.Linear(width, outputs, bias=False)
    nn.init.normal_(layers[0].weight, std=1 / 8)
    nn.init.normal_(layers[1].weight, std=START / width**0.5)
    net = nn.Sequential(layers[0], nn.Tanh(), layers[1])
    model = nn.Sequential(nn.Unflatten(1, (2, 64)), net, nn.Flatten())
    views = pairs.view(-1, 2, 64).transpose(0, 1).reshape(-1, 64)
    inputs, now = (part(views).detach().double().numpy() for part in (net[:2], net))
    modes = barlow_start(*kernel_views(inputs @ inputs.T, now), tolerance=1)  # of a small readout
    gamma, s = modes.view_eigenvalue, modes.embedding_weight
    rate = 1 / (FINE * gamma.values[0])
    when = np.sort(barlow_times(gamma, s).values / rate)
    last = int(1.6 * when[-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    probe = lr.Probe(model, (pairs, torch.zeros(len(pairs))), loss=barlow, seed=seed)
    forecast = probe.forecast(optimizer=optimizer, steps=last, max_steps=last)
    seen = []
    for step in range(last + 1):
        if step % (last // LOOKS) == 0:
            probe.measure(step, optimizer=optimizer)
        optimizer.zero_grad()
        now = model(pairs)
        seen.append(torch.linalg.eigvalsh(correlation(now.detach())).flip(0).numpy())
        barlow(now).backward()
        optimizer.step()
    at = np.linspace(0, last, 81).astype(int)
    path = barlow_flow(gamma, s, rate * at).embedding_eigenvalue.transpose("mode", "time")
    half, verdict = (np.array(seen) > 0.5).argmax(0), probe.verdict()
    return {
        "largest_error_of_a_step": float(np.abs(half / when - 1)[half > 0].max()),
        "eigenvalues_that_step": float((half > 0).sum()),
        "ntk_change": verdict.evidence["ntk_change"],
        "forecast_ntk_change": forecast.predicted_ntk_change,
        "regime": str(verdict.regime),
        "forecast_regime": str(forecast.regime),
        "mechanisms": "; ".join(
            ", ".join(m.mechanism for m in x.mechanisms) for x in verdict.layers
        ),
        "steps_seen": half.tolist(),
        "steps_foretold": when.tolist(),
        "curve_at": at.tolist(),
        "curves_seen": np.array(seen)[at].T.round(3).tolist(),
        "curves_foretold": np.sort(path.values, axis=0)[::-1].round(3).tolist(),
    }


def run(seed: int, size: str) -> dict[str, Any]:
    """Both widths of a seed."""
    count, outputs, widths = SIZES[size]
    found = {width: train(seed, digit_pairs(seed, count), width, outputs) for width in widths}
    return {f"width_{width}_{key}": x for width, one in found.items() for key, x in one.items()}


def main(size: str, seeds: int, out: Path) -> None:
    """Write the record, with the median, least and largest of every number."""
    runs = [run(seed, size) for seed in range(seeds)]
    numbers = {key: [r[key] for r in runs] for key, x in runs[0].items() if isinstance(x, float)}
    spread = {key: [median(x), min(x), max(x)] for key, x in numbers.items()}
    said = {"claim": str(__doc__), "command": COMMAND, "size": size, "seeds": seeds}
    text = json.dumps(said | {"summary": spread, "runs": runs})
    (out / "related-stepwise_ssl.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one seed of a tiny size")
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    options = parser.parse_args()
    main("smoke" if options.smoke else "full", 1 if options.smoke else 5, options.out)

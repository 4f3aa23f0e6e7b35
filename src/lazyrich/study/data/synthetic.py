"""Data made from a formula, whose truth is known.

Every set draws, from one seed, first what defines its target, then the test part, then the training
part: the number of training samples does not change the test. Inputs come as drawn, not
standardised, because their law is part of the problem.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional

from lazyrich._errors import InputError
from lazyrich.study.activations import ACTIVATIONS
from lazyrich.study.data.samples import DataSet, Samples

STREAM = 3  # of the random numbers of a seed; training has 0 to 2
SpectrumTarget = Literal["linear", "products", "signs"]


def line(
    *,
    samples: int = 100,
    test: int = 1000,
    dimension: int = 1,
    slope: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """Data on a line through the origin, as the theory of two-layer linear networks has it.

    x = a n and y = f* a + ε, with a ~ N(0, 1), ε ~ N(0, σ²), and n = (1, …, 1)/√d, which has
    length 1. All inputs lie on the line to the last bit, so that `LineData.from_samples`
    takes them.

    Args:
        samples: training samples.
        test: test samples.
        dimension: d of the inputs.
        slope: f*, what the best network reaches.
        noise: σ ≥ 0.
        seed: seed of everything random.

    Raises:
        InputError: a number is out of its range.

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData
        >>> data = line(samples=50, dimension=10, slope=2.0)
        >>> moments = LineData.from_samples(data.train.x, data.train.y)
        >>> round(float(moments.mean_ay / moments.mean_aa), 5)
        2.0

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    _require(samples=samples, test=test, dimension=dimension, noise=noise)
    generator = _generator(seed)

    def draw(size: int) -> Samples:
        a = torch.randn(size, 1, generator=generator)
        return Samples(
            x=(a / sqrt(dimension)).repeat(1, dimension), y=_noisy(slope * a, noise, generator)
        )

    return _drawn("line", draw, samples, test)


def gaussian(
    *,
    samples: int = 1000,
    test: int = 1000,
    dimension: int = 32,
    alpha: float = 1.0,
    target: SpectrumTarget = "linear",
    noise: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """Gaussian inputs whose covariance has a power law as its spectrum.

    x_i ~ N(0, λ_i) independent, λ_i = (1 + i)^−α for i = 0, …, d − 1. The targets have variance 1
    (before the noise):

    - `"linear"`: y = Σ_i x_i / √(Σ_i λ_i)
    - `"products"`: y = (x_0 x_1 + x_1 x_2) / √(λ_0 λ_1 + λ_1 λ_2)
    - `"signs"`: y = ±1, independent of the input.

    Args:
        samples: training samples.
        test: test samples.
        dimension: d of the inputs; at least 3 for products.
        alpha: α ≥ 0; 0 makes all directions equal.
        target: what is learned.
        noise: standard deviation of what is added to the targets, ≥ 0.
        seed: seed of everything random.

    Raises:
        InputError: a number is out of its range, or the target has no such name.

    Example:
        >>> data = gaussian(samples=20_000, dimension=4, alpha=2.0)
        >>> data.train.x.var(0).round(decimals=1)
        tensor([1.0000, 0.2000, 0.1000, 0.1000])
    """
    targets: dict[str, Callable[[Tensor], Tensor]] = {
        "linear": lambda x: x.sum(1, keepdim=True) / spectrum.sum().sqrt(),
        "products": lambda x: (
            (x[:, :1] * x[:, 1:2] + x[:, 1:2] * x[:, 2:3])
            / (spectrum[1] * (spectrum[0] + spectrum[2])).sqrt()
        ),
        "signs": lambda x: _signs(generator, len(x))[:, None],
    }
    if target not in targets:
        raise InputError(f"`target` must be one of {', '.join(targets)}, got {target!r}.")
    _require(samples=samples, test=test, dimension=dimension, noise=noise, alpha=alpha)
    if target == "products" and dimension < 3:
        raise InputError(f"`dimension` must be at least 3 for products, got {dimension}.")
    generator = _generator(seed)
    spectrum = (1 + torch.arange(dimension)).float() ** -alpha

    def draw(size: int) -> Samples:
        x = torch.randn(size, dimension, generator=generator) * spectrum.sqrt()
        return Samples(x=x, y=_noisy(targets[target](x), noise, generator))

    return _drawn("gaussian", draw, samples, test)


def teacher_student(
    *,
    samples: int = 1000,
    test: int = 1000,
    dimension: int = 16,
    width: int = 4,
    activation: str = "relu",
    noise: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """What a random two-layer network, the teacher, makes of Gaussian inputs.

    y = (1/√k) Σ_j a_j φ(w_j · x) + ε, with x ~ N(0, I_d), w_j uniform on the unit sphere and
    a_j = ±1.

    Args:
        samples: training samples.
        test: test samples.
        dimension: d of the inputs.
        width: k, neurons of the teacher.
        activation: φ, a name of `lazyrich.study.networks.catalogue.ACTIVATIONS`.
        noise: standard deviation of ε, ≥ 0.
        seed: seed of everything random.

    Raises:
        InputError: a number is out of its range, or the activation has no such name.

    Example:
        >>> data = teacher_student(samples=20, dimension=5)
        >>> data.train.x.shape, data.train.y.shape
        (torch.Size([20, 5]), torch.Size([20, 1]))
    """
    _require(samples=samples, test=test, dimension=dimension, noise=noise, width=width)
    if activation not in ACTIVATIONS:
        raise InputError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}, got {activation!r}. "
            "'linear' makes a linear teacher."
        )
    generator = _generator(seed)
    w = functional.normalize(torch.randn(width, dimension, generator=generator))
    a = _signs(generator, width) / sqrt(width)
    phi = ACTIVATIONS[activation]()

    def draw(size: int) -> Samples:
        x = torch.randn(size, dimension, generator=generator)
        return Samples(x=x, y=_noisy(phi(x @ w.T) @ a[:, None], noise, generator))

    return _drawn("teacher-student", draw, samples, test)


def chain_monomial(
    *,
    samples: int = 512,
    test: int = 2000,
    dimension: int = 32,
    order: int = 5,
    noise: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """A closed chain of products of neighbours, on Gaussian inputs.

    y = Σ_{k<r} x_k x_{(k+1) mod r} + ε, with x ~ N(0, I_d): only the first r inputs matter, and
    none of them alone.

    Args:
        samples: training samples.
        test: test samples.
        dimension: d of the inputs.
        order: r, links of the chain, from 2 to d.
        noise: standard deviation of ε, ≥ 0.
        seed: seed of everything random.

    Raises:
        InputError: a number is out of its range.

    Example:
        >>> data = chain_monomial(samples=3, dimension=6, order=3)
        >>> a, b, c = data.train.x[0, :3]
        >>> torch.allclose(data.train.y[0], a * b + b * c + c * a)
        True
    """
    _require(samples=samples, test=test, dimension=dimension, noise=noise)
    _require_order("order", order, 2, dimension)
    generator = _generator(seed)

    def draw(size: int) -> Samples:
        x = torch.randn(size, dimension, generator=generator)
        chain = x[:, :order]
        y = (chain * chain.roll(-1, dims=1)).sum(1, keepdim=True)
        return Samples(x=x, y=_noisy(y, noise, generator))

    return _drawn("chain-monomial", draw, samples, test)


def sparse_parity(
    *,
    samples: int = 1000,
    test: int = 1000,
    dimension: int = 32,
    order: int = 3,
    noise: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """The product of the first k of d random signs.

    y = Π_{i<k} x_i + ε, with x uniform on {−1, 1}^d.

    Args:
        samples: training samples.
        test: test samples.
        dimension: d of the inputs.
        order: k, signs that matter, from 1 to d.
        noise: standard deviation of ε, ≥ 0.
        seed: seed of everything random.

    Raises:
        InputError: a number is out of its range.

    Example:
        >>> data = sparse_parity(samples=5, order=2)
        >>> torch.equal(data.train.y[:, 0], data.train.x[:, 0] * data.train.x[:, 1])
        True
    """
    _require(samples=samples, test=test, dimension=dimension, noise=noise)
    _require_order("order", order, 1, dimension)
    return _of_signs(
        "sparse-parity",
        lambda x: x[:, :order].prod(1, keepdim=True),
        (samples, test, dimension),
        noise,
        seed,
    )


def staircase(
    *,
    samples: int = 1000,
    test: int = 1000,
    dimension: int = 32,
    order: int = 3,
    noise: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """A sum of parities, each with one more sign than the one before.

    y = Σ_{j=1…k} Π_{i<j} x_i + ε = x_0 + x_0 x_1 + x_0 x_1 x_2 + … + ε, with x uniform on
    {−1, 1}^d. Every step is easy once the one before is learned.

    Args:
        samples: training samples.
        test: test samples.
        dimension: d of the inputs.
        order: k, steps of the staircase, from 1 to d.
        noise: standard deviation of ε, ≥ 0.
        seed: seed of everything random.

    Raises:
        InputError: a number is out of its range.

    Example:
        >>> data = staircase(samples=5, order=2)
        >>> a, b = data.train.x[0, :2]
        >>> bool(data.train.y[0] == a + a * b)
        True

    References:
        E. Abbe, E. Boix-Adsera and T. Misiakiewicz, arXiv:2202.08658.
    """
    _require(samples=samples, test=test, dimension=dimension, noise=noise)
    _require_order("order", order, 1, dimension)
    return _of_signs(
        "staircase",
        lambda x: x[:, :order].cumprod(1).sum(1, keepdim=True),
        (samples, test, dimension),
        noise,
        seed,
    )


def _of_signs(
    name: str,
    target: Callable[[Tensor], Tensor],
    sizes: tuple[int, int, int],
    noise: float,
    seed: int,
) -> DataSet:
    samples, test, dimension = sizes
    generator = _generator(seed)

    def draw(size: int) -> Samples:
        x = _signs(generator, size, dimension)
        return Samples(x=x, y=_noisy(target(x), noise, generator))

    return _drawn(name, draw, samples, test)


def _drawn(name: str, draw: Callable[[int], Samples], samples: int, test: int) -> DataSet:
    held = draw(test)
    return DataSet(name=name, train=draw(samples), test=held, classes=0)


def _generator(seed: int) -> Generator:
    """A stream of its own: weights are drawn from the plain seed and must not repeat the data."""
    if seed < 0:
        raise InputError(f"`seed` must be ≥ 0, got {seed}. Count seeds from 0.")
    state = np.random.SeedSequence((seed, STREAM)).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state[0]))


def _signs(generator: Generator, *shape: int) -> Float[Tensor, "*shape"]:
    return 2.0 * torch.randint(2, shape, generator=generator) - 1


def _noisy(y: Float[Tensor, "n 1"], noise: float, generator: Generator) -> Float[Tensor, "n 1"]:
    return y + noise * torch.randn(y.shape, generator=generator)


def _require(*, noise: float, alpha: float = 0.0, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"`{name}` must be at least 1, got {size}. Ask for one or more.")
    for name, value in (("noise", noise), ("alpha", alpha)):
        if not 0 <= value < float("inf"):
            raise InputError(f"`{name}` must be ≥ 0 and finite, got {value}. 0 leaves it out.")


def _require_order(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InputError(
            f"`{name}` must lie in {low} to {high}, the dimension, got {value}. "
            "Raise `dimension`, or lower this one."
        )

"""Small real tasks for the benches that tune: a network of any width and depth, and its data.

Everything is in PyTorch's own parametrisation and initialisation, and nothing knows of lazyrich's
transfer. Images of CIFAR-10 are those of the folder that the environment variable LAZYRICH_DATA
names; where there are none, the digits of scikit-learn stand in for them, and the task says so.

Example:
    >>> task = TASKS["transformer"]()
    >>> model = task.model(32, 2, 0)
    >>> x, y = task.train
    >>> task.loss(model(x[:4]), y[:4]).shape
    torch.Size([])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional

from lazyrich import InputError
from lazyrich.study.data.datasets import cifar10
from lazyrich.study.data.datasets import digits as digits_of_sklearn
from lazyrich.study.data.samples import DataSet

CONTEXT = 32  # characters that a transformer sees
HEAD = 8  # numbers of a head of attention, whatever the width
FEW = 8  # numbers of a digit's side

Part = tuple[Tensor, Tensor]
"""Inputs and targets, as many rows in both."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Networks of any size, and what they learn.

    Attributes:
        name: of the task.
        data: what the numbers come from.
        model: `(width, depth, seed)` to a freshly initialised network.
        train: inputs and targets to learn from.
        held_out: those to judge by.
        batch: rows of a step.
        branches: patterns of the layers that end a residual branch; none without such branches.
    """

    name: str
    data: str
    model: Callable[[int, int, int], nn.Module]
    train: Part
    held_out: Part
    batch: int
    branches: tuple[str, ...] = ()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of the labels, or of the next characters."""
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    def steps(self, count: int, seed: int) -> list[Part]:
        """The batches of a training run, drawn with the seed: the same for every network."""
        generator = torch.Generator().manual_seed(seed)
        x, y = self.train
        rows = [torch.randint(len(x), (self.batch,), generator=generator) for _ in range(count)]
        return [(x[each], y[each]) for each in rows]


class Residual(nn.Module):
    """A block before whose branch the features are normalised: h + W₂ relu(W₁ norm(h))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.out(self.up(self.norm(h)).relu())


class ResidualMLP(nn.Module):
    """Residual blocks between an input layer and a norm with a readout, on digits."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(FEW**2, width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.norm(self.blocks(self.first(x.flatten(1)))))


class Conv(nn.Module):
    """A 3 × 3 convolution whose weight is a matrix, since Muon takes nothing else."""

    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        matrix = nn.Linear(9 * taken, given)  # starts as the kernels of nn.Conv2d do
        self.weight, self.bias, self.stride = matrix.weight, matrix.bias, stride

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.view(len(self.weight), -1, 3, 3)
        return functional.conv2d(x, kernel, self.bias, self.stride, padding=1)


class Layer(nn.Module):
    """Causal attention with heads of 8 numbers and an MLP, each on normalised features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.mixed = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        x = self.norm_1(h)
        query, key, value = (
            part(x).unflatten(2, (-1, HEAD)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        h = h + self.mixed(seen.transpose(1, 2).flatten(2))
        return h + self.out(functional.gelu(self.up(self.norm_2(h))))


class Transformer(nn.Module):
    """Predicts the next character at every place."""

    def __init__(self, width: int, depth: int, characters: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.places = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Layer(width) for _ in range(depth)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        return self.readout(self.norm(self.blocks(self.characters(x) + self.places(places))))


def _seeded(make: Callable[[int, int], nn.Module]) -> Callable[[int, int, int], nn.Module]:
    def model(width: int, depth: int, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make(width, depth)

    return model


def mlp_of(width: int, depth: int, *, pixels: int) -> nn.Module:
    """Pixels → width → … → width → 10, with as many square matrices as the depth; ReLU."""
    hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), *hidden, nn.Linear(width, 10)
    )


def cnn_of(width: int, depth: int, *, channels: int, norm: bool) -> nn.Module:
    """A convolution of the image, as many more as the depth, the mean over places, a readout."""
    layers: list[nn.Module] = []
    for i in range(depth + 1):
        layers.append(Conv(width if i else channels, width, 2 if i < 2 else 1))
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


@cache
def _images() -> tuple[str, DataSet, int]:
    """CIFAR-10 on 16 × 16 pixels, or the digits: a name, the images, their channels."""
    try:
        return "cifar10", cifar10(), 3
    except InputError:
        return "digits", digits_of_sklearn(), 1


def _side(name: str) -> int:
    return 2 * FEW if name == "cifar10" else FEW


def _parts(data: DataSet, side: int) -> tuple[Part, Part]:
    """Of mean 0 and variance 1 over the training part, pooled down to a side."""
    x, z = (functional.adaptive_avg_pool2d(part.x, side) for part in (data.train, data.test))
    mean, std = x.mean(), x.std()
    return ((x - mean) / std, data.train.y), ((z - mean) / std, data.test.y)


def digits_mlp() -> Task:
    """Digits, a ReLU network without branches."""
    train, held_out = _parts(digits_of_sklearn(), FEW)
    return Task(
        name="MLP on digits", data="digits", model=_seeded(partial(mlp_of, pixels=FEW**2)),
        train=train, held_out=held_out, batch=64,
    )  # fmt: skip


def image_mlp() -> Task:
    """Images, the same network: they are not learned by heart in a few steps."""
    name, data, channels = _images()
    side = _side(name)
    train, held_out = _parts(data, side)
    model = _seeded(partial(mlp_of, pixels=channels * side**2))
    return Task(name="MLP", data=name, model=model, train=train, held_out=held_out, batch=64)


def digits_residual() -> Task:
    """Digits, residual blocks."""
    train, held_out = _parts(digits_of_sklearn(), FEW)
    return Task(
        name="residual MLP", data="digits", model=_seeded(ResidualMLP), train=train,
        held_out=held_out, batch=64, branches=("blocks.*.out",),
    )  # fmt: skip


def image_cnn(*, norm: bool) -> Task:
    """Images, convolutions, with or without BatchNorm."""
    name, data, channels = _images()
    train, held_out = _parts(data, _side(name))
    return Task(
        name="CNN with BatchNorm" if norm else "CNN",
        data=name,
        model=_seeded(partial(cnn_of, channels=channels, norm=norm)),
        train=train,
        held_out=held_out,
        batch=32,
    )


@cache
def _characters() -> tuple[Tensor, int]:
    text = "".join(topics[key] for key in sorted(topics))
    known = {character: i for i, character in enumerate(sorted(set(text)))}
    return torch.tensor([known[character] for character in text]), len(known)


def text_transformer() -> Task:
    """Characters of the help texts that ship with Python, a transformer with norms before."""
    text, characters = _characters()
    windows = text.unfold(0, CONTEXT + 1, CONTEXT // 2)
    cut = len(windows) * 9 // 10
    return Task(
        name="transformer",
        data="help texts of Python",
        model=_seeded(partial(Transformer, characters=characters)),
        train=(windows[:cut, :-1], windows[:cut, 1:]),
        held_out=(windows[cut + 2 :, :-1], windows[cut + 2 :, 1:]),  # none that overlaps
        batch=8,
        branches=("blocks.*.mixed", "blocks.*.out"),
    )


TASKS: dict[str, Callable[[], Task]] = {
    "digits": digits_mlp,
    "mlp": image_mlp,
    "residual": digits_residual,
    "cnn": partial(image_cnn, norm=False),
    "cnn_norm": partial(image_cnn, norm=True),
    "transformer": text_transformer,
}
"""By name; made when called."""

"""The networks that looks are timed on, with a batch, a loss and an optimiser: float32."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from networks import Layer, cnn, mlp
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer


class LanguageModel(nn.Module):
    """Six layers of width 256 on 128 tokens of a vocabulary of 5,000."""

    def __init__(self, tokens: int = 128, vocabulary: int = 5000, width: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.layers = nn.Sequential(*(Layer(width) for _ in range(6)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.embed(x) + self.positions)))


class Block(nn.Module):
    """Two convolutions with BatchNorm around a skip connection that has its own."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.skip = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def resnet18() -> nn.Sequential:
    """ResNet-18 for 3×32×32 images and 10 classes."""
    widths = [64, 64, 128, 256, 512]
    blocks = [
        block
        for i, (a, b) in enumerate(itertools.pairwise(widths))
        for block in (Block(a, b, 1 if i == 0 else 2), Block(b, b, 1))
    ]
    stem = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def over_tokens(f: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every token."""
    return functional.cross_entropy(f.flatten(0, -2), y.flatten())


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a network is trained.

    Attributes:
        network: makes it.
        batch: draws inputs and labels.
        loss: of outputs and labels.
        optimizer: its class; the rate is 1e-3.
        steps: of one run that is watched; 0 if that would take minutes.
    """

    network: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy
    optimizer: Callable[..., Optimizer] = SGD
    steps: int = 200

    def build(self) -> tuple[nn.Module, tuple[Tensor, Tensor], Optimizer]:
        """The network, its batch and its optimiser, alike every time."""
        torch.manual_seed(0)
        model = self.network()
        return model, self.batch(), self.optimizer(model.parameters(), lr=1e-3)

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], optimizer: Optimizer) -> None:
        """One of training."""
        optimizer.zero_grad()
        self.loss(model(batch[0]), batch[1]).backward()
        optimizer.step()


def _images(*shape: int) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: (torch.randn(128, *shape), torch.randint(0, 10, (128,)))


def _tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 5000, (16, 128)), torch.randint(0, 5000, (16, 128))


CASES = {
    "MLP": Case(network=lambda: mlp(10), batch=_images(784), steps=1000),
    "CNN": Case(network=cnn, batch=_images(3, 32, 32)),
    "ResNet-18": Case(network=resnet18, batch=_images(3, 32, 32), steps=0),
    "transformer": Case(
        network=LanguageModel, batch=_tokens, loss=over_tokens, optimizer=AdamW, steps=0
    ),
}

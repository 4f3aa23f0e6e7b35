"""The networks that the observables are timed on, evaluation mode, float32."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn


def mlp(outputs: int) -> nn.Sequential:
    """784-512-512-512-C, ReLU."""
    sizes = [784, 512, 512, 512]
    hidden = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(512, outputs))


class Block(nn.Module):
    """Two convolutions with BatchNorm around a skip connection."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.skip = nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(h + self.skip(x))


def cnn(outputs: int = 10) -> nn.Sequential:
    """Three convolutions of 32, 64 and 128 channels, for 3×32×32 images."""
    body = [
        module
        for a, b in ((3, 32), (32, 64), (64, 128))
        for module in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    ]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, outputs)
    return nn.Sequential(*body, *head)


def moved(model: nn.Module) -> nn.Module:
    """A network like it with other weights, alike every time."""
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p += 0.1 * p.std() * torch.randn(p.shape, generator=generator)
    return other


def resnet(outputs: int = 10) -> nn.Sequential:
    """ResNet-8 for 3×32×32 images: widths 16, 32, 64."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16, 1),
        Block(16, 32, 2),
        Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, outputs),
    ).eval()


def settle(model: nn.Module, x: Tensor) -> None:
    """Let running statistics be those of the batch, so that all routes measure one function."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    unbiased = {}
    for norm in norms:
        norm.train().momentum = 1.0
        norm.register_forward_pre_hook(
            lambda norm, args: unbiased.update({norm: args[0].numel() / args[0].shape[1]})
        )
    with torch.no_grad():
        model(x)
    for norm in norms:
        norm._forward_pre_hooks.clear()
        norm.eval().running_var.mul_(1 - 1 / unbiased[norm])


class Layer(nn.Module):
    """Pre-norm attention of 4 heads and an MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, 4, d // 4).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / (d // 4) ** 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, t, d))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Two layers of width 64 on 16 patches of 48 numbers, mean over positions."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        self.embed = nn.Linear(48, 64)
        self.layers = nn.Sequential(Layer(64), Layer(64))
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.embed(x)).mean(1)))

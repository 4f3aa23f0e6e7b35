"""Convolutional networks: a small one, the CIFAR ResNet-18, and VGG-11 without normalisation.

References:
    He et al., arXiv:1512.03385 (ResNet); Simonyan & Zisserman, arXiv:1409.1556 (VGG).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.study.networks.fully_connected import require_sizes

RESNET18 = ((1, 1), (2, 2), (4, 2), (8, 2))  # channels in units of the width, stride of a stage
VGG11 = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # config A; a maximum over 2 × 2 ends each group
CLASSIFIER = 64  # hidden units of VGG's two fully connected layers, in units of the width


def cnn(inputs: tuple[int, ...], outputs: int, *, width: int = 16) -> nn.Module:
    """Two 3 × 3 convolutions, of `width` and twice as many channels, averaged to 2 × 2 places.

    Args:
        inputs: (channels, height, width) of one image.
        outputs: how many numbers it returns for one image.
        width: channels of the first convolution.

    Raises:
        InputError: not the shape of an image; a size below 1.

    Example:
        >>> import torch
        >>> cnn((1, 8, 8), 10, width=4)(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """
    channels = _channels(inputs, outputs, width)
    network = nn.Sequential()
    network.add_module("layer1", nn.Conv2d(channels, width, 3, padding=1))
    network.add_module("activation1", nn.ReLU())
    network.add_module("layer2", nn.Conv2d(width, 2 * width, 3, stride=2, padding=1))
    network.add_module("activation2", nn.ReLU())
    network.add_module("pool", nn.AdaptiveAvgPool2d(2))
    network.add_module("flatten", nn.Flatten())
    network.add_module("readout", nn.Linear(8 * width, outputs))
    return network


def resnet18(inputs: tuple[int, ...], outputs: int, *, width: int = 64) -> nn.Module:
    """The ResNet-18 for small images: a 3 × 3 stem without pooling, then 4 stages of 2 blocks.

    At width 64 it has 11,173,962 parameters for images of 3 channels and 10 classes.

    Args:
        inputs: (channels, height, width) of one image.
        outputs: how many numbers it returns for one image.
        width: channels of the first stage; the others have 2, 4 and 8 times as many.

    Raises:
        InputError: not the shape of an image; a size below 1.

    Example:
        >>> import torch
        >>> network = resnet18((3, 32, 32), 10, width=4)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    Reference:
        He et al., Deep residual learning, arXiv:1512.03385.
    """
    size = _channels(inputs, outputs, width)
    network = nn.Sequential()
    network.add_module("stem", nn.Conv2d(size, width, 3, padding=1, bias=False))
    network.add_module("norm", nn.BatchNorm2d(width))
    network.add_module("activation", nn.ReLU())
    size = width
    for number, (factor, stride) in enumerate(RESNET18, start=1):
        blocks = _Block(size, factor * width, stride), _Block(factor * width, factor * width, 1)
        network.add_module(f"stage{number}", nn.Sequential(*blocks))
        size = factor * width
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("readout", nn.Linear(size, outputs))
    return network


class _Block(nn.Module):
    """Two 3 × 3 convolutions with batch normalisation, added to their input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.activation1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.add_module("conv", nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.add_module("norm", nn.BatchNorm2d(outputs))
        self.activation2 = nn.ReLU()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        z = self.norm2(self.conv2(self.activation1(self.norm1(self.conv1(x)))))
        h: Tensor = self.activation2(z + self.shortcut(x))
        return h


def vgg11(
    inputs: tuple[int, ...], outputs: int, *, width: int = 64, dropout: float = 0.0
) -> nn.Module:
    """VGG-11 (configuration A) without normalisation, for small images.

    Eight 3 × 3 convolutions with biases, of 1, 2, 4, 4, 8, 8, 8, 8 times `width` channels, with a
    maximum over 2 × 2 places after the 1st, 2nd, 4th, 6th and 8th as long as there is more than
    one place; a mean over places; two fully connected layers of 64 times `width` units; a readout.
    Its own initial weights are the usual ones: Kaiming's by fan-out for convolutions, standard
    deviation 0.01 for the others, biases 0.

    Args:
        inputs: (channels, height, width) of one image.
        outputs: how many numbers it returns for one image.
        width: channels of the first convolution; 64 in the original.
        dropout: share of units left out after each fully connected layer in train mode; 0.5 in
            the original.

    Raises:
        InputError: not the shape of an image; a size below 1; a share outside [0, 1).

    Example:
        >>> import torch
        >>> network = vgg11((3, 32, 32), 10, width=2)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    Reference:
        Simonyan & Zisserman, Very deep convolutional networks, arXiv:1409.1556.
    """
    if not 0 <= dropout < 1:
        raise InputError(
            f"`dropout` must lie between 0 and 1 (excluded), got {dropout}. 0 leaves none out."
        )
    return _Vgg(_channels(inputs, outputs, width), outputs, width, dropout)


class _Vgg(nn.Sequential):
    """The layers of VGG-11; knows how its weights begin."""

    def __init__(self, channels: int, outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        number = 0
        for group in VGG11:
            for factor in group:
                number += 1
                conv = nn.Conv2d(channels, factor * width, 3, padding=1)
                self.add_module(f"layer{number}", conv)
                self.add_module(f"activation{number}", nn.ReLU())
                channels = factor * width
            self.add_module(f"pool{number}", nn.MaxPool2d(2, ceil_mode=True))
        self.add_module("mean", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())
        for number in (9, 10):
            self.add_module(f"layer{number}", nn.Linear(channels, CLASSIFIER * width))
            self.add_module(f"activation{number}", nn.ReLU())
            if dropout:
                self.add_module(f"dropout{number}", nn.Dropout(dropout))
            channels = CLASSIFIER * width
        self.add_module("readout", nn.Linear(channels, outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the usual initial weights."""
        for module in self:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            else:
                continue
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def _channels(inputs: tuple[int, ...], outputs: int, width: int) -> int:
    """The channels of an image, after a look at the sizes."""
    require_sizes(*inputs, outputs=outputs, width=width)
    if len(inputs) != 3:
        raise InputError(
            f"`inputs` must be (channels, height, width) of one image, got {inputs}. Take a fully "
            "connected network for other shapes."
        )
    return inputs[0]

"""The networks of studies, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.network import as_network
from lazyrich.study.activations import ACTIVATIONS
from lazyrich.study.data.samples import DataSet, Samples
from lazyrich.study.networks.attention import transformer
from lazyrich.study.networks.convolutional import cnn, resnet18, vgg11
from lazyrich.study.networks.fully_connected import fcn

__all__ = [
    "ACTIVATIONS",
    "NETWORKS",
    "as_taken_by",
    "cnn",
    "fcn",
    "resnet18",
    "transformer",
    "vgg11",
]

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "fcn": fcn,
    "cnn": cnn,
    "resnet18": resnet18,
    "vgg11": vgg11,
    "transformer": transformer,
}
"""Every network by its name; all take the shape of one sample and the number of outputs first."""


def as_taken_by(network: nn.Module, data: DataSet) -> DataSet:
    """The data in the form that a network takes: as they are, or as vectors of their numbers.

    Args:
        network: maps a batch to one number a class or target.
        data: the data set to be learned.

    Raises:
        InputError: neither form leads to one number a class or target.

    Example:
        >>> from lazyrich.study import digits
        >>> as_taken_by(nn.Linear(64, 10), digits()).inputs
        (64,)
    """
    device = next((p.device for p in network.parameters()), data.train.x.device)
    vectors = replace(data, train=_flat(data.train), test=_flat(data.test))
    came = []
    for form in (data, vectors):
        came.append(_outcome(network, form.train.x[:2].to(device)))
        if came[-1] == f"outputs of shape {(2, data.outputs)}":
            return form
    raise InputError(
        f"the network must map two samples {(2, *data.inputs)}, or their numbers as vectors, "
        f"to outputs {(2, data.outputs)}. As they are: {came[0]}. As vectors: {came[1]}."
    )


def _flat(samples: Samples) -> Samples:
    return replace(samples, x=samples.x.flatten(1))


def _outcome(network: nn.Module, x: Tensor) -> str:
    """What the network makes of two samples, in words."""
    try:
        seen = as_network(network, x)
        with undisturbed(seen.module):
            return f"outputs of shape {tuple(seen(seen.theta).shape)}"
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

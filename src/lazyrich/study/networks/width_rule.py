"""How the scaling law of a two-layer network carries over to a deeper one.

A `ScalingLaw` of f(x) = γ U φ(W x) gives γ(d), η_u(d), η_w(d), σ_u²(d) and σ_w²(d). In a deeper
network the first layer is W and the last one U; d is the number of inputs of the last layer, m
that of the first, whose entries have variance σ_w²/m. A hidden layer with n inputs has

    initial variance  c/n,  c = 1/E[φ(z)²] of the activation φ that it reads, z ~ N(0, 1)
    learning rate     η_h = η_w m/(n σ_w²)

so that it contributes to the NTK, and moves its own outputs, at the order of layer W. Biases of
hidden layers, norms and learned places learn at η_w: they are inputs of the size of one, as those
of the first layer. The bias of the readout learns at η_u · d σ_w²(d)/(100 σ_w²(100)): its share of
the NTK is the same at every width, one neuron's at width 100. A norm takes σ_w away from whatever
follows it; a network with norms gets the law with γ σ_w for γ, η_w/σ_w² for η_w and 1 for σ_w²,
which is the same network if φ(s z) = s φ(z).

Adam moves every entry by its learning rate, whatever the gradient. Its rates follow the width as
the steps of gradient descent do,

    η_u → η_u γ σ_w,    η_w → η_w γ max(σ_u, η_u γ σ_w)    in their powers of d, 1 at width 100

(the maximum: readout weights as they start, or as they are learned), and σ_w takes the place of
σ_w² in the rates of hidden layers and of the readout's bias: an aligned step of size η in n inputs
moves an output by n η and not by η times their squares. So layers move, and features are learned,
in the same powers of the width. The derivations are in the documentation.

References:
    Xu & Ziyin, arXiv:2401.07085; Yang & Hu, arXiv:2011.14522; Yang et al., arXiv:2203.03466.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lazyrich._errors import InputError
from lazyrich.capture.modules import is_embedding, is_linear, is_norm
from lazyrich.phases.scaling import Power, ScalingLaw
from lazyrich.study.activations import Erf, Quadratic
from lazyrich.study.networks.attention import Place

OptimizerName = Literal["sgd", "adam"]
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Embedding

BASE_WIDTH = 100  # where both learning rates of every preset are the same, 0.05
ELEMENTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid),
    *(Quadratic, Erf),
)
NODES = 100  # of Gauss–Hermite quadrature


@dataclass(frozen=True, kw_only=True)
class WidthRule:
    """What a scaling law means for one network.

    Attributes:
        output_scale: γ.
        init_std: standard deviation of every weight matrix, by the path of its layer.
        weight_rates: learning rate of every weight matrix, by the path of its layer.
        readout: path of the last layer.
        readout_bias_rate: learning rate of its bias.
        other_rate: learning rate of every other parameter.
    """

    output_scale: float
    init_std: dict[str, float]
    weight_rates: dict[str, float]
    readout: str
    readout_bias_rate: float
    other_rate: float

    def rate(self, parameter: str) -> float:
        """The learning rate of a parameter, by its name in the network."""
        path, _, own = parameter.rpartition(".")
        if own == "weight" and path in self.weight_rates:
            return self.weight_rates[path]
        return self.readout_bias_rate if path == self.readout else self.other_rate


def width_rule(
    network: nn.Module, law: ScalingLaw, *, optimizer: OptimizerName = "sgd"
) -> WidthRule:
    """Apply a scaling law to a network, by the rule of this module.

    Args:
        network: layers in the order of its modules; sizes alone matter, not weights.
        law: scaling law of the two-layer network under gradient descent.
        optimizer: the optimiser that the rates are for; those for `"adam"` are relative, 1 at width
            100.

    Returns:
        Output scale, initial standard deviations and learning rates.

    Raises:
        InputError: fewer than two weight matrices, or matrices that the rule does not cover.

    Example:
        >>> from lazyrich import PRESETS
        >>> from lazyrich.study import fcn
        >>> rule = width_rule(fcn((20,), 1, width=400, depth=2), PRESETS["mup"])
        >>> {path: round(rate, 6) for path, rate in rule.weight_rates.items()}
        {'layer1': 0.2, 'layer2': 0.01, 'readout': 0.0125}

    References:
        Xu & Ziyin, arXiv:2401.07085; Yang et al., arXiv:2203.03466.
    """
    layers = weight_layers(network)
    _require_covered(network, layers)
    first, *hidden, last = layers
    d, m = fan_in(layers[last]), fan_in(layers[first])
    if any(is_norm(module) for module in network.modules()):
        law = _behind_norms(law)
    size = law.init_var_w
    if optimizer == "adam":
        law, size = _for_adam(law), _root(size)
    eta_u, eta_w = law.lr_u.at(d), law.lr_w.at(d)
    gains = _squared_gains(network)
    sizes = {path: fan_in(layers[path]) for path in hidden}
    variances = {
        first: law.init_var_w.at(d) / m,
        **{path: gains[path] / n for path, n in sizes.items()},
        last: law.init_var_u.at(d),
    }
    hidden_rates = {path: eta_w * m / (n * size.at(d)) for path, n in sizes.items()}
    rates = {first: eta_w, **hidden_rates, last: eta_u}
    return WidthRule(
        output_scale=law.output_scale.at(d),
        init_std={path: sqrt(variance) for path, variance in variances.items()},
        weight_rates=rates,
        readout=last,
        readout_bias_rate=eta_u * d * size.at(d) / (BASE_WIDTH * size.at(BASE_WIDTH)),
        other_rate=eta_w,
    )


def _behind_norms(law: ScalingLaw) -> ScalingLaw:
    """The law with the size of the first layer in the output scale."""
    gamma, variance, eta = law.output_scale, law.init_var_w, law.lr_w
    size = _root(variance)
    return replace(
        law,
        output_scale=Power(gamma.exponent + size.exponent, gamma.constant * size.constant),
        lr_w=Power(eta.exponent - variance.exponent, eta.constant / variance.constant),
        init_var_w=Power(0),
    )


def _for_adam(law: ScalingLaw) -> ScalingLaw:
    """The law with learning rates for Adam, 1 at the base width."""
    gamma, size_u, size_w = law.output_scale, _root(law.init_var_u), _root(law.init_var_w)
    u = law.lr_u.exponent + gamma.exponent + size_w.exponent
    w = law.lr_w.exponent + gamma.exponent + max(size_u.exponent, u)
    eta_u, eta_w = (Power(power, BASE_WIDTH ** -float(power)) for power in (u, w))
    return replace(law, lr_u=eta_u, lr_w=eta_w)


def _root(power: Power) -> Power:
    return Power(power.exponent / 2, sqrt(power.constant))


def weight_layers(network: nn.Module) -> dict[str, Layer]:
    """The linear, convolutional and embedding layers by their path, in the order of the modules.

    Example:
        >>> list(weight_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
        ['0', '2']
    """
    return {
        path: cast(Layer, module)
        for path, module in network.named_modules()
        if is_linear(module) or is_embedding(module)
    }


def fan_in(layer: Layer) -> int:
    """How many inputs a neuron of the layer reads: of a patch, or one token of an embedding.

    Example:
        >>> [fan_in(nn.Linear(5, 3)), fan_in(nn.Conv2d(4, 8, 3)), fan_in(nn.Embedding(9, 3))]
        [5, 36, 1]
    """
    return 1 if isinstance(layer, nn.Embedding) else layer.weight[0].numel()


def squared_gain(activation: nn.Module) -> float:
    """C = 1/E[φ(z)²] for z ~ N(0, 1): weights of variance c/n keep pre-activations at variance 1.

    Example:
        >>> squared_gain(nn.ReLU()), round(squared_gain(Quadratic()), 12)
        (2.0, 0.333333333333)

    Reference:
        For ReLU: He et al., arXiv:1502.01852.
    """
    z, weight = _quadrature()
    with torch.no_grad():
        phi = activation(torch.from_numpy(z)).numpy()
    return float(round(np.sum(weight) / np.sum(weight * phi**2), 14))


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of Gauss–Hermite quadrature for the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights


def _squared_gains(network: nn.Module) -> dict[str, float]:
    """For every layer the squared gain of the activation before it; 1 after anything else."""
    gain, gains = 1.0, {}
    for path, module in network.named_modules():
        if is_linear(module) or is_embedding(module):
            gains[path] = gain
        if isinstance(module, ELEMENTWISE):
            gain = squared_gain(module)
        elif next(iter(module.parameters(recurse=False)), None) is not None:
            gain = 1.0
    return gains


def _require_covered(network: nn.Module, layers: dict[str, Layer]) -> None:
    """Refuse what the rule says nothing about."""
    if len(layers) < 2:
        raise InputError(
            f"`network` must have at least two weight matrices, got {len(layers)}. A linear map "
            'has no width: take "default".'
        )
    owners = {id(layer.weight) for layer in layers.values()}
    if len(owners) < len(layers):
        raise InputError(
            "`network` must not share a weight matrix between layers, which would need two "
            "learning rates at once. Untie them."
        )
    places = {id(module.shift) for module in network.modules() if isinstance(module, Place)}
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and id(parameter) not in owners | places:
            raise InputError(
                f"`network` must have its matrices in linear, convolutional or embedding layers, "
                f'got {name}, whose width the rule does not know. Take "default".'
            )

"""Named parametrisations of real networks: initial weights, output scale, learning rates.

Initial variances and learning rates come from a `ScalingLaw` by the rule of `width_rule`, which
for two layers is the law itself.

References:
    Xu & Ziyin, arXiv:2401.07085; Yang & Hu, arXiv:2011.14522; Yang et al., arXiv:2203.03466.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.generators import seeded
from lazyrich.capture.isolation import single_output
from lazyrich.phases.presets import PRESETS
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.study.networks.width_rule import (
    BASE_WIDTH,
    Layer,
    OptimizerName,
    WidthRule,
    weight_layers,
    width_rule,
)

DEFAULT = "default"
PARAMETRISATIONS: tuple[str, ...] = (DEFAULT, *PRESETS)
"""Every name that `parametrise` takes."""
BASE_LR = {"sgd": 1.0, "adam": 0.001}  # where the parametrisation names none


@dataclass(frozen=True, kw_only=True)
class Parametrised:
    """A network under a parametrisation, ready to be trained.

    Attributes:
        model: the network behind its output scale; its parameters are called `network.…`.
        lr_factors: what multiplies the base learning rate, by the parameter's name in `model`.
        lr: the base learning rate that the parametrisation names, the same at every width; if it
            names none 1, and for Adam the 0.001 of `torch.optim`.
    """

    model: nn.Module
    lr_factors: Mapping[str, float]
    lr: float

    def groups(self, lr: float | None = None) -> list[dict[str, Any]]:
        """Parameter groups for a `torch.optim` optimiser, one for each learning rate.

        Args:
            lr: base learning rate; None takes the parametrisation's own.

        Example:
            >>> from lazyrich.study import fcn
            >>> made = parametrise(fcn((2,), 1, width=400), "mup", seed=0)
            >>> [round(group["lr"], 6) for group in made.groups()]
            [0.2, 0.0125]
        """
        base = self.lr if lr is None else lr
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.lr_factors[name], []).append(parameter)
        return [
            {"params": parameters, "lr": base * factor} for factor, parameters in groups.items()
        ]


class ScaledOutput(nn.Module):
    """The module γ f(x).

    Args:
        network: the network f. It is kept, not copied.
        output_scale: γ > 0.

    Example:
        >>> half = ScaledOutput(nn.Identity(), 0.5)
        >>> half(torch.ones(2))
        tensor([0.5000, 0.5000])
    """

    output_scale: Tensor

    def __init__(self, network: nn.Module, output_scale: float) -> None:
        super().__init__()
        self.network = network
        weight = next(iter(network.parameters()), torch.zeros(()))
        value = torch.full((), output_scale, dtype=weight.dtype, device=weight.device)
        self.register_buffer("output_scale", value)

    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, "..."]:  # noqa: ANN401
        """The scaled output."""
        return self.output_scale * single_output(self.network(*args, **kwargs))


def parametrise(
    network: nn.Module,
    name: str,
    *,
    optimizer: OptimizerName = "sgd",
    output_scale: float = 1.0,
    init_scale: float | Sequence[float] = 1.0,
    centred: bool = False,
    seed: int,
) -> Parametrised:
    """Draw a network's weights anew and set its output scale and relative learning rates.

    `"default"` draws as the network's own modules do, with one learning rate for all; the other
    names are those of `lazyrich.PRESETS`: weights Gaussian, biases 0.

    Args:
        network: is changed in place and becomes part of the model. Its first weight matrix in the
            order of its modules is layer W, its last one the readout U.
        name: one of `PARAMETRISATIONS`.
        optimizer: the optimiser that the learning rates are for: `"sgd"`, with or without momentum,
            or `"adam"`, whose rates follow the width otherwise.
        output_scale: multiplies the output beside the parametrisation's own γ.
        init_scale: multiplies the initial weight matrices: a number, or one a matrix in the order
            of the modules. Biases, norms and places stay as they are.
        centred: whether to subtract the initial function: γ (h − h₀), see `CentredOutput`.
        seed: seed of the weights; the global random state is left as it is.

    Returns:
        The model with its learning rates.

    Raises:
        InputError: unknown name or optimiser; a scale that is not positive, or not one a matrix; a
            network whose parameters the rule does not cover.

    Example:
        >>> from lazyrich.study import fcn
        >>> made = parametrise(fcn((2,), 1, width=400), "ntk", seed=0)
        >>> made.model.output_scale.item(), made.lr
        (0.05000000074505806, 0.05)
        >>> made.lr_factors
        {'network.layer1.weight': 1.0, 'network.readout.weight': 1.0}

    References:
        Xu & Ziyin, arXiv:2401.07085; for `"mup"`: Yang & Hu, arXiv:2011.14522.
    """
    if name not in PARAMETRISATIONS:
        raise InputError(
            f"`name` must be one of {', '.join(PARAMETRISATIONS)}, got {name!r}. "
            "'default' is PyTorch's own initialisation."
        )
    if optimizer not in BASE_LR:
        raise InputError(
            f'`optimizer` must be "sgd" or "adam", got {optimizer!r}. Take "adam" for AdamW '
            'and its like, whose steps do not grow with the gradient, else "sgd".'
        )
    layers = weight_layers(network)
    scales = _one_each(init_scale, layers)
    _require_positive("output_scale", output_scale)
    _draw_own(network, seed)
    gamma, lr = 1.0, BASE_LR[optimizer]
    rates = {parameter: 1.0 for parameter, _ in network.named_parameters()}
    if name != DEFAULT:
        rule = width_rule(network, PRESETS[name], optimizer=optimizer)
        _draw(network, rule, seed)
        gamma, base = rule.output_scale, 1.0
        if optimizer == "sgd":
            lr = base = PRESETS[name].lr_u.at(BASE_WIDTH)
        rates = {parameter: rule.rate(parameter) / base for parameter in rates}
    with torch.no_grad():
        for layer, scale in zip(layers.values(), scales, strict=True):
            layer.weight.mul_(scale)
    wrap = CentredOutput if centred else ScaledOutput
    return Parametrised(
        model=wrap(network, gamma * output_scale),
        lr_factors={f"network.{parameter}": rate for parameter, rate in rates.items()},
        lr=lr,
    )


def _one_each(init_scale: float | Sequence[float], layers: Mapping[str, Layer]) -> list[float]:
    """The factor of every weight matrix."""
    if isinstance(init_scale, Sequence):
        scales = [float(scale) for scale in init_scale]
    else:
        scales = [float(init_scale)] * len(layers)
    if len(scales) != len(layers):
        raise InputError(
            f"`init_scale` must be one number, or one for each of the {len(layers)} weight "
            f"matrices ({', '.join(layers)}), got {len(scales)} numbers."
        )
    for scale in scales:
        _require_positive("init_scale", scale)
    return scales


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise InputError(f"`{name}` must be a positive number, got {value}. 1 changes nothing.")


def _draw_own(network: nn.Module, seed: int) -> None:
    """Let every module draw its own parameters, those inside first."""
    for path, module in network.named_modules():
        own = next(iter(module.parameters(recurse=False)), None)
        if own is not None and not hasattr(module, "reset_parameters"):
            raise InputError(
                f"`network` must know how its parameters begin, got the module {path!r} "
                f"({type(module).__name__}) without a method "
                "reset_parameters. Define one that draws its parameters anew."
            )
    with seeded(seed, *{p.device for p in network.parameters()}):
        network.apply(_reset)


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


def _draw(network: nn.Module, rule: WidthRule, seed: int) -> None:
    """Gaussian weight matrices and biases 0; norms and places stay as they drew themselves."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, layer in weight_layers(network).items():
            weight, bias = layer.weight, getattr(layer, "bias", None)
            drawn = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            weight.copy_(rule.init_std[path] * drawn)  # drawn here, the same on every device
            if bias is not None:
                bias.zero_()

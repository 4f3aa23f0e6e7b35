"""One network of a coordinate check: looked at, trained for a few steps, looked at again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim import Optimizer

from lazyrich.capture.belongings import same
from lazyrich.capture.directions import Directions, random_count
from lazyrich.capture.generators import seeded, set_state, state_of
from lazyrich.capture.isolation import (
    arguments,
    is_close,
    map_tensors,
    single_output,
    tensors_in,
    undisturbed,
    widen,
)
from lazyrich.capture.losses import Loss
from lazyrich.capture.network import Network, Parameters, layer_of, layer_outputs, turns_of
from lazyrich.capture.norms import root_mean_square
from lazyrich.capture.ownership import ownership
from lazyrich.capture.padding import counted_positions, only_counted
from lazyrich.probe.arguments import LabelledBatch
from lazyrich.probe.forecast.first_step import Start, measured_richness, start_of_training
from lazyrich.probe.forecast.tangent import kernel_change, output_directions, root_of_ratio
from lazyrich.probe.forecast.training import needs_closure
from lazyrich.probe.steer.update_parts import layer_maps, update_parts

OptimizerFactory = Callable[[nn.Module, int], Optimizer]
"""`(model, width) -> optimizer`, so that learning rates can follow the width."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured of a network.

    Attributes:
        steps: steps of training.
        refined: whether updates are taken apart.
        kernel: whether ρ and the change of the NTK are measured.
        directions: random directions for these.
    """

    steps: int
    refined: bool
    kernel: bool
    directions: Directions


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured of a network.

    Attributes:
        owners: the modules that own the parameters.
        layers: activation size and feature update of each that acts, and refined the parts
            of it.
        of_network: quantities by name.
    """

    owners: tuple[str, ...]
    layers: dict[str, tuple[float, ...]]
    of_network: dict[str, float]


def run_of(
    factory: Callable[[int], nn.Module],
    make: OptimizerFactory,
    batch: LabelledBatch,
    loss: Loss,
    setting: tuple[int, int, Asked],
) -> Run:
    """One network: look, train, look again.

    Args:
        factory: makes the model of a width.
        make: its optimiser.
        batch: the batch on which it trains.
        loss: the loss of that training.
        setting: width, seed and what is asked.
    """
    width, seed, asked = setting
    with seeded(seed, *{tensor.device for tensor in tensors_in(batch)}):
        model = factory(width)
        optimizer = make(model, width)
        start = start_of_training(model, batch, loss, optimizer, asked.directions)
        network, outputs = start.network, start.outputs
        theta = {name: p.clone() for name, p in network.theta.items()}
        turns = turns_of(ownership(network).layers)
        with undisturbed(network.module):
            before = layer_outputs(network, theta, turns)
            maps = layer_maps(network, theta) if asked.refined else {}
        count = random_count(asked.directions, outputs.numel())
        forecast = _forecast(start, count, seed) if asked.kernel else {}
        moved = _train(start, optimizer, asked.steps)
    end = _weights(network)
    with undisturbed(network.module):
        later = network.at(end)
        after, final = layer_outputs(later, end, turns), later(end)
        later_maps = layer_maps(later, end) if asked.refined else {}
    if asked.kernel:
        es = output_directions(outputs, count, seed)
        forecast["ntk_change"] = _ntk_change(network, (theta, end), optimizer, es)
    counted = counted_positions(network.inputs)
    layers = {
        layer: (
            root_mean_square([only_counted(a, counted) for a in old]),
            _moved(old, after.get(layer, ()), counted),
            *(update_parts(layer, maps, later_maps) if asked.refined else ()),
        )
        for layer, old in before.items()
    }
    largest = max(moved, network.counting(final - outputs).double().norm().item())
    of_network = {
        "output_size": root_mean_square([only_counted(outputs, counted)]),
        "progress": largest / start.distance_to_fit,
        "hidden_update": _hidden_update(layers),
        "loss_ratio": (start.loss(final) / start.loss(outputs)).item(),
    }
    owners = tuple(dict.fromkeys(map(layer_of, theta)))
    return Run(owners=owners, layers=layers, of_network=of_network | forecast)


def _forecast(start: Start, count: int | None, seed: int) -> dict[str, float]:
    with undisturbed(start.network.module, twice=True):
        return {"richness": measured_richness(start, count, seed)[0]}


def _ntk_change(
    network: Network, at: tuple[Parameters, Parameters], optimizer: Optimizer, es: Iterator[Tensor]
) -> float:
    with undisturbed(network.module, twice=True):
        squares = kernel_change(network, *at, _rates(network, optimizer), es)
    return root_of_ratio(*squares, exact=True)[0]


def _hidden_update(layers: dict[str, tuple[float, ...]]) -> float:
    """`rms(Δz)/rms(z)` of layers below the last one, which gives the output; NaN of none.

    The root mean square over layers: it goes as the largest one does, with less scatter.
    """
    pairs = [(size, update) for size, update, *_ in layers.values()][:-1]
    there = [(size, update) for size, update in pairs if size > 0 and not isnan(update)]
    squares = [(update / size) ** 2 for size, update in there]
    return sqrt(sum(squares) / len(squares)) if squares else nan


def _train(start: Start, optimizer: Optimizer, steps: int) -> float:
    """Full-batch steps in the model's own mode; the largest change of the output before any."""
    network = start.network
    as_seen = _trains_as_seen(network, start.outputs)
    first, largest = None, 0.0

    def again() -> Tensor:
        optimizer.zero_grad()
        value = start.loss(_forward(network))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    closure = (again,) if needs_closure(optimizer) else ()
    for _ in range(steps):
        optimizer.zero_grad()
        if not as_seen:
            with undisturbed(network.module):
                here = _weights(network)
                looked_at = network.at(here)(here)
        trained = _forward(network)
        outputs = trained.detach() if as_seen else looked_at
        first = outputs if first is None else first
        largest = max(largest, network.counting(outputs - first).double().norm().item())
        start.loss(trained).backward()  # type: ignore[no-untyped-call]
        optimizer.step(*closure)
    return largest


def _forward(network: Network) -> Tensor:
    args, kwargs = arguments(network.module, map_tensors(torch.clone, network.inputs))
    return single_output(network.module(*args, **kwargs))


def _trains_as_seen(network: Network, outputs: Tensor) -> bool:
    """Whether training's own passes give the outputs of a look: they draw and change nothing."""
    held = network.conditions
    if held.settles or held.functional or held.buffers or held.attributes or held.rewritten:
        return False
    drawn = [state_of(one) for one in held.generators]
    with torch.no_grad():
        alike = is_close(_forward(network), outputs)
    still = same(drawn, [state_of(one) for one in held.generators])
    for generator, state in zip(held.generators, drawn, strict=True):
        set_state(generator, state)
    return alike and still


def _weights(network: Network) -> Parameters:
    """The trainable parameters as they are now, copied."""
    parameters = network.module.named_parameters()
    return {n: widen(p.detach().clone()) for n, p in parameters if n in network.theta}


def _rates(network: Network, optimizer: Optimizer) -> Parameters:
    """The learning rate of each parameter's group; 0 for those that are not trained."""
    rate = {id(p): float(g["lr"]) for g in optimizer.param_groups for p in g["params"]}
    return {
        name: torch.as_tensor(rate.get(id(p), 0.0))
        for name, p in network.module.named_parameters()
        if name in network.theta
    }


def _moved(
    old: Sequence[Tensor], new: Sequence[Tensor], counted: Bool[Tensor, "n t"] | None
) -> float:
    """RMS of the change of a layer's outputs; NaN if it acts on others, as an expert may."""
    if [a.shape for a in old] != [b.shape for b in new]:
        return nan
    return root_mean_square([only_counted(b - a, counted) for a, b in zip(old, new, strict=True)])

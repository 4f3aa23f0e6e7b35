"""What the first steps of training do to a network, tensor by tensor.

A parameter's own update is what its change alone does to the outputs of its layer, on the inputs
that the layer has at the start. For a weight W with inputs h it is ΔW·h. What comes from below is
the rest: the change of a layer's outputs because its inputs change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from lazyrich.capture.losses import OutputLoss
from lazyrich.capture.network import Network, Parameters, derivative, layer_of
from lazyrich.capture.norms import root_mean_square
from lazyrich.probe.forecast.rehearsal import of_network
from lazyrich.probe.forecast.training import Apprentice

ROUNDING = 0.1  # of a gradient: more than rounding ever changes one that does not cancel


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A question: what do the steps of some parameters do to a module's outputs?

    Attributes:
        place: path of the module; that of the network itself is empty.
        parameters: those that step; the others stay.
    """

    place: str
    parameters: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Updates:
    """Sizes on one batch, as root mean squares.

    Attributes:
        own: parameter → its own update.
        sizes: place → its outputs at the start.
        inputs: place → its inputs at the start; 0 if they are no floating-point numbers.
        flows: the answers to what was asked, in order.
    """

    own: Mapping[str, float]
    sizes: Mapping[str, float]
    inputs: Mapping[str, float]
    flows: tuple[float, ...]


def updates_of(
    network: Network,
    loss: OutputLoss,
    optimizers: Sequence[Optimizer],
    steps: int,
    asked: Sequence[Flow],
) -> Updates:
    """Make the first steps, of copies, and measure what they do.

    Args:
        network: the network on its batch; call this inside `undisturbed`.
        loss: the loss as a function of the outputs.
        optimizers: the optimisers that train it; they are only read.
        steps: number of steps to make.
        asked: the same as in `Flow`.
    """
    change = first_steps(network, loss, optimizers, steps)
    places = places_of(network)
    layers = {name: place for name, place in places.items() if place}
    own, sizes, inputs = _own_updates(network, change, layers)
    for name in (name for name, place in places.items() if not place):
        own[name] = _flow(network, change, Flow(place="", parameters=frozenset({name})))
    sizes[""] = root_mean_square(outputs_at(network, network.theta, ""))
    flows = tuple(_flow(network, change, one) for one in asked)
    return Updates(own=own, sizes=sizes, inputs=inputs, flows=flows)


def first_steps(
    network: Network, loss: OutputLoss, optimizers: Sequence[Optimizer], steps: int
) -> Parameters:
    """How far the parameters move, by name.

    0 for those that no optimiser owns, and for those whose gradient is nothing but rounding: the
    loss does not depend on them, as on the bias of a key or one before a batch norm, and where
    Adam takes them says nothing.
    """
    evaluate = of_network(network.trained, loss)
    third = of_network(network.trained, replace(loss, value=lambda f: loss(f) / 3))
    workers = [Apprentice(one, network.module, network.theta) for one in optimizers]

    def here() -> Parameters:
        theta = dict(network.theta)
        for worker in workers:
            theta |= {name: worker.leaves[name].detach() for name in worker.owned}
        return theta

    def again() -> Tensor:
        value, gradient = evaluate(here())
        for worker in workers:
            worker.set_gradient(gradient)
        return value

    heard: set[str] = set()
    for _ in range(steps):
        value, gradient = evaluate(here())
        heard |= _above_rounding(gradient, third(here())[1])
        for worker in workers:
            worker.step(value.item(), gradient, again)
    return {
        name: p - network.theta[name] if name in heard else torch.zeros_like(p)
        for name, p in here().items()
    }


def _above_rounding(gradient: Parameters, third: Parameters) -> set[str]:
    """Parameters whose gradient is three times that of a third of the loss.

    Rounding is not: it falls anew.
    """
    return {
        name
        for name, g in gradient.items()
        if g.any() and (3 * third[name] - g).norm() <= ROUNDING * g.norm()
    }


def places_of(network: Network, names: Iterable[str] = ()) -> dict[str, str]:
    """The module on whose outputs each parameter's update is measured.

    It is its layer, or, if that is never called itself, the next module around it that is.

    Args:
        network: the network on its batch; call this inside `undisturbed`.
        names: names of parameters; by default of all that are trained.
    """
    called: set[str] = set()
    with ExitStack() as hooks:
        for path, module in network.module.named_modules():
            hooks.enter_context(
                module.register_forward_hook(lambda *_, path=path: called.add(path))
            )
        network(network.theta)
    return {
        name: next(p for p in _upwards(layer_of(name)) if p in called)
        for name in names or network.theta
    }


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""


def _own_updates(
    network: Network, change: Parameters, places: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Own updates of parameters, outputs and inputs of their places: a pass, and one more each."""
    moved: defaultdict[str, _MeanSquare] = defaultdict(_MeanSquare)
    sizes: defaultdict[str, _MeanSquare] = defaultdict(_MeanSquare)
    inputs: defaultdict[str, _MeanSquare] = defaultdict(_MeanSquare)
    members: dict[str, list[str]] = defaultdict(list)
    for name, place in places.items():
        members[place].append(name)
    inside = False

    def look(path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:  # noqa: ANN401
        nonlocal inside
        if inside:
            return
        inside = True
        before = _floats(output)
        sizes[path].add(before)
        inputs[path].add(_floats((args, kwargs)))
        for name in members[path]:
            if change[name].any():
                stepped = {name[len(path) + 1 :]: network.theta[name] + change[name]}
                after = _floats(functional_call(module, stepped, args, kwargs))
                moved[name].add([b - a for a, b in zip(before, after, strict=True)])
            else:
                moved[name].add([torch.zeros(1)])
        inside = False

    with ExitStack() as hooks, torch.no_grad():
        for path in members:
            module = network.module.get_submodule(path)
            hooks.enter_context(
                module.register_forward_hook(
                    lambda m, a, k, out, path=path: look(path, m, a, k, out), with_kwargs=True
                )
            )
        network(network.theta)
    return (
        {name: moved[name].root for name in places},
        {place: size.root for place, size in sizes.items()},
        {place: size.root for place, size in inputs.items()},
    )


class _MeanSquare:
    """Of the entries of tensors, in float64."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            self._sum += tensor.detach().double().square().sum().item()
            self._count += tensor.numel()

    @property
    def root(self) -> float:
        return (self._sum / max(self._count, 1)) ** 0.5


def _floats(output: Any) -> list[Tensor]:  # noqa: ANN401 - whatever a module returns
    return [
        t.clone() for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()
    ]


def _flow(network: Network, change: Parameters, asked: Flow) -> float:
    """RMS of J_z·v, with v the steps of those parameters."""
    along = {n: v if n in asked.parameters else torch.zeros_like(v) for n, v in change.items()}
    _, moved = derivative(
        lambda theta: outputs_at(network, theta, asked.place), network.theta, along
    )
    return root_mean_square(moved)


def outputs_at(network: Network, theta: Parameters, place: str) -> tuple[Tensor, ...]:
    """What a module gives in one pass, in all its calls, as training computes it.

    Args:
        network: the network on its batch; call this inside `undisturbed`.
        theta: the parameters.
        place: path of the module; of the network itself it is what the loss is computed from.
    """
    if not place:
        return (network.trained(theta),)
    seen: list[Tensor] = []
    module = network.module.get_submodule(place)
    with module.register_forward_hook(lambda _, __, output: seen.extend(_floats(output))):
        network.trained(theta)
    return tuple(seen)


def entries(network: Network, places: Iterable[str]) -> dict[str, tuple[int, int]]:
    """How many numbers modules take and give in one pass, in all their calls.

    Args:
        network: the network on its batch; call this inside `undisturbed`.
        places: paths of the modules.
    """
    found: dict[str, tuple[int, int]] = {}

    def count(place: str, args: Any, kwargs: Any, output: Any) -> None:  # noqa: ANN401
        taken, given = found.get(place, (0, 0))
        taken += sum(t.numel() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        found[place] = taken, given + sum(t.numel() for t in _floats(output))

    with ExitStack() as hooks, torch.no_grad():
        for place in places:
            hooks.enter_context(
                network.module.get_submodule(place).register_forward_hook(
                    lambda _, args, kwargs, out, place=place: count(place, args, kwargs, out),
                    with_kwargs=True,
                )
            )
        network(network.theta)
    return found

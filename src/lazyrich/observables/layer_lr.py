"""The learning rate that every layer has at the time of a look."""

from __future__ import annotations

from math import nan

from lazyrich.capture.look import Look, Reference
from lazyrich.capture.network import layer_of
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity


def _rates(look: Look, _: Reference) -> Row:
    """By layer, the largest of its parameters; without an optimiser those inside the kernel."""
    leaves = look.capture.leaves
    parameters = look.capture.model.named_parameters()
    trainable = {name: p for name, p in parameters if leaves[name].requires_grad}
    if look.optimizer is None:
        of = {name: look.rates.get(name, nan) for name in trainable}
    else:
        groups = look.optimizer.param_groups
        owned = {id(p): float(group.get("lr", nan)) for group in groups for p in group["params"]}
        given = any(id(p) in owned for p in trainable.values())  # not so of gathered copies
        of = {
            name: owned.get(id(p), 0.0 if given else nan) if p.requires_grad else 0.0
            for name, p in trainable.items()
        }
    rates: dict[str, float] = {}
    for name, rate in of.items():
        layer = layer_of(name)
        rates[layer] = max(rates.get(layer, rate), rate)
    for (
        known
    ) in look.layers:  # products too, which may be of parts of a parameter, or of a tied one
        own = [of[x.parameter] for x in known.tensors.values() if x.parameter in of]
        if own:
            rates[known.name] = max(own)
    return {"layer_lr": rates}


LAYER_LR = Observable(
    quantities=(
        Quantity(
            name="layer_lr",
            dims=("layer",),
            symbol="η",
            meaning="learning rate of a layer, the largest of its parameters'",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_rates,
)

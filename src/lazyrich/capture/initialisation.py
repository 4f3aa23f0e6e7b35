"""Networks that give parameters their values in their first forward pass, from the batch they see.

Such are an activation norm of a flow, or a codebook that begins at what it is given. A look before
that pass would be one at another network, and later looks would begin anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from lazyrich._errors import InputError
from lazyrich.capture.belongings import every_module
from lazyrich.capture.conditions import Conditions
from lazyrich.capture.isolation import Batch, Leaves, undisturbed


def refuse_uninitialised(
    plain: Conditions,
    model: nn.Module,
    tensors: Leaves,
    x: Batch,
    trains: Mapping[str, bool],
    written: Sequence[str],
) -> None:
    """Refuse a network whose first pass is still to come.

    Its parameters do not depend on what they were before such a pass, and are left alone after it.

    Args:
        plain: what is known of the conditions.
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.
        trains: modules, by path, that are in train mode where the model is trained.
        written: names of parameters that a pass as in training changed.

    Raises:
        InputError: it is one.
    """
    own, others = ({name: t.detach().clone() for name, t in tensors.items()} for _ in range(2))
    _displace(others, written)
    for copies in (own, others):
        with undisturbed(model):
            for path, module in every_module(model).items():
                module.training = trains[path]
            plain.call(model, copies, x, {})
            first = {name: copies[name].clone() for name in written}
            _displace(copies, written)
            displaced = {name: copies[name].clone() for name in written}
            plain.call(model, copies, x, {})
            if not all(torch.equal(copies[name], displaced[name]) for name in written):
                return  # written on in every pass
            copies |= first
    if all(torch.allclose(own[name], others[name], rtol=1e-4, atol=1e-6) for name in written):
        raise InputError(
            "the network must have its weights before it is measured, got one that sets "
            f"{', '.join(f'`{name}`' for name in written[:4])} in its first forward pass, from the "
            "batch that it is given. Run it once on a training batch, `model(x)`, before."
        )


def _displace(tensors: Leaves, names: Sequence[str]) -> None:
    for name in names:
        tensors[name].mul_(1.5).add_(0.1)

"""The centred ansatz before training: what the first step of gradient flow will show."""

from __future__ import annotations

import torch
import xarray as xr
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.capture import Capture, capture
from lazyrich.capture.conditions import MODE
from lazyrich.capture.directions import Directions, checked_directions
from lazyrich.capture.losses import Loss, output_loss
from lazyrich.observables import ansatz
from lazyrich.observables.ansatz import Correlation
from lazyrich.observables.ansatz_sketch import ansatz_from_sketches
from lazyrich.observables.catalogue import quantities
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.heads import Heads, Part, hidden_parts, part_covariances, part_sketches
from lazyrich.probe.steer.centred import without_references


@exact_arithmetic()
def initial_cnfa(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    directions: Directions = 2,
    correlation: Correlation = "cosine",
    heads: Heads | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Centred neural feature ansatz in the limit of no training, from one gradient.

    `lim_{t→0} ρ(W̄ᵀW̄, W̄ᵀKW̄) = ρ(ẆᵀẆ, ẆᵀKẆ)`, with `−Ẇ` the loss's gradient at a layer: exact for
    any network, depth and loss under gradient flow, whatever the learning rates of the layers.
    It is what `nfa` finds after one tiny step.

    Args:
        model: the network before training, see `capture` for its mode; it is left as it is.
        batch: `(x, y)`: inputs as the model takes them, and the loss's targets; or a mapping, see
            `forecast`.
        loss: `"mse"` (as `torch.nn.MSELoss`), `"squared_error"` (E‖f − y‖², summed over outputs),
            `"cross_entropy"`, or `(outputs, targets) -> scalar`.
        directions: random output directions for K, ≥ 2, one backward pass each; a model with no
            more outputs than that has an exact K, by one for each output. So has, with `"all"`,
            every model.
        correlation: cosine, or Pearson over all entries.
        heads: number of heads by layer name or pattern, see `nfa`.
        seed: seed of the directions; the global random state is not used.

    Returns:
        A row a layer: `cnfa` (NaN where the gradient vanishes) and `cnfa_null`, its value if K had
        no preferred directions. The attribute `skipped` lists the modules left out, with reasons.

    Raises:
        InputError: see `capture`; a batch that is no pair; targets that do not fit the loss; no
            hidden linear layer that learns; heads that do not fit a layer.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> x = torch.randn(30, 3)
        >>> 0 < float(initial_cnfa(net, (x, x[:, :1])).cnfa.sel(layer="0")) <= 1
        True

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271, on derivative alignment; the identity
        is derived in the lazyrich documentation.
    """
    x, y = inputs_and_targets(batch)
    checked = checked_directions(directions)
    seen = without_references(capture(model, x))
    parts, skipped = _learning(seen, hidden_parts(seen, heads))
    steps = _first_steps(seen, parts, loss, y)
    if checked == "all":
        rows = [
            (
                ansatz.ansatz_correlation(step, k.mean(0), correlation=correlation),
                ansatz.haar_null(step, k.mean(0), correlation=correlation),
            )
            for step, k in zip(steps, part_covariances(seen, parts), strict=True)
        ]
    else:
        rows = []
        for step, both in zip(steps, part_sketches(seen, parts, checked, seed), strict=True):
            estimate = ansatz_from_sketches(step, *both, correlation=correlation)
            rows.append((estimate.value, estimate.null))
    known = quantities()
    return xr.Dataset(
        {
            name: ("layer", [row[i] for row in rows], known[name].attrs)
            for i, name in enumerate(("cnfa", "cnfa_null"))
        },
        coords={"layer": [part.name for part in parts]},
        attrs={
            "correlation": correlation,
            "mode": MODE,
            "skipped": [f"{name or '(root)'}: {reason}" for name, reason in skipped.items()],
        },
    )


def _learning(seen: Capture, parts: list[Part]) -> tuple[list[Part], dict[str, str]]:
    """The parts whose weight is a trainable parameter, and why the others are left out."""
    skipped = dict(seen.skipped)
    if seen.readout:
        skipped[seen.readout] = "the readout: K = 1, its correlation is 1 by construction"
    learning = []
    for part in parts:
        piece = part.layer.tensors.get("weight")
        leaf = seen.leaves[piece.parameter] if piece else None
        if leaf is None:
            skipped[part.layer.name] = "its weight is computed from other parameters"
        elif not leaf.requires_grad:
            skipped[part.layer.name] = "its weight is frozen"
        else:
            learning.append(part)
    if not learning:
        raise InputError(
            f"`model` must have a hidden linear layer that learns, got none. Skipped: {skipped}"
        )
    return learning, skipped


def _first_steps(seen: Capture, parts: list[Part], loss: Loss, y: object) -> list[Tensor]:
    """`∂L/∂W` of every part, in float64; over all uses of a weight that is used more than once."""
    with torch.inference_mode(False), torch.enable_grad():
        f = seen.outputs.detach().clone().requires_grad_()
        value = output_loss(loss, f.view(seen.shape), y)(f.view(seen.shape))
        (slope,) = torch.autograd.grad(value, f)
    pieces = [part.layer.tensors["weight"] for part in parts]
    names = dict.fromkeys(piece.parameter for piece in pieces)
    gradients = seen.backward(slope, list(names))[1]
    return [
        part.of(piece.of(gradients[piece.parameter].double()))
        for part, piece in zip(parts, pieces, strict=True)
    ]

"""How a history was measured, as a record that a report and a reader need."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lazyrich.capture.conditions import MODE
from lazyrich.capture.directions import random_count
from lazyrich.capture.isolation import shapes, unwrap
from lazyrich.capture.look import Plan, Reference
from lazyrich.capture.losses import Loss, loss_name
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.versions import versions


def setting_of(
    plan: Plan,
    reference: Reference,
    batch: tuple[Any, Any],
    loss: Loss,
    samples: int,
    thresholds: Thresholds,
) -> dict[str, Any]:
    """Texts and numbers that say what was measured, and how.

    Args:
        plan: the plan of all looks.
        reference: the first one.
        batch: the batch as it was given.
        loss: loss of the probe.
        samples: how many of the batch were measured.
        thresholds: thresholds of the verdict.
    """
    model = unwrap(plan.model)
    count = random_count(plan.directions, outputs := reference.outputs.shape[1])
    return {
        "model": model.title if isinstance(model, CentredOutput) else type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "batch": [shapes(part) for part in batch],
        "loss": loss_name(loss),
        "samples": samples,
        "outputs": outputs,
        "directions": "all outputs" if count is None else f"{count} random",
        "mode": MODE,
        "learning_rates": "equal" if plan.lrs is None else dict(plan.lrs),
        "seed": plan.seed,
        "thresholds": asdict(thresholds),
        "versions": versions(),
    }

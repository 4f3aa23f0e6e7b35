"""The loss, and how far the outputs went."""

from __future__ import annotations

from math import nan

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.shared import LOSS


def _output(look: Look, reference: Reference) -> Row:
    moved = float(look.capture.of_counted(look.f.double() - reference.outputs.double()).norm())
    return {
        "loss": float(look.loss_of(look.f)),
        "output_change": moved / reference.distance_to_fit if reference.distance_to_fit else nan,
    }


OUTPUT = Observable(
    quantities=(
        LOSS,
        Quantity(
            name="output_change",
            symbol="‖Δf‖/‖τ ∂L/∂f‖",
            meaning="change of the output, in units of the distance to the fit at the start",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_output,
)

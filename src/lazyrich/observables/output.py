"""The loss, and how far the outputs went."""

from __future__ import annotations

from math import nan

from lazyrich.capture.moment import Moment, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.shared import LOSS


def _output(moment: Moment, reference: Reference) -> Row:
    moved = float((moment.f.double() - reference.outputs.double()).norm())
    return {
        "loss": float(moment.loss_of(moment.f)),
        "output_change": moved / reference.way if reference.way else nan,
    }


OUTPUT = Observable(
    quantities=(
        LOSS,
        Quantity(
            name="output_change",
            symbol="‖Δf‖/‖way‖",
            meaning="change of the output, in units of the way that the loss asks for at the start",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_output,
)

"""The neural feature ansatz of every layer, plain and centred, beside its null."""

from __future__ import annotations

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.ansatz_sketch import ansatz_from_sketches, share_with_error
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name
from lazyrich.vocabulary.shared import CNFA, NFA


def _ansatz(look: Look, reference: Reference) -> Row:
    rows: dict[str, dict[str, float]] = {}
    for layer in look.layers:
        if layer.name == look.capture.readout:
            continue  # K = 1, its correlation is 1 by construction
        weight, sketches = layer.matrix, look.kept.sketches(layer.name)
        moved = weight - reference.weights[layer.name].to(weight)
        plain, centred = (ansatz_from_sketches(w, *sketches) for w in (weight, moved))
        share, share_stderr = share_with_error(centred, plain)
        rows[layer.name] = {
            "nfa": plain.value,
            "nfa_stderr": plain.stderr,
            "nfa_null": plain.null,
            "nfa_null_stderr": plain.null_stderr,
            "cnfa": centred.value,
            "cnfa_stderr": centred.stderr,
            "cnfa_null": centred.null,
            "cnfa_null_stderr": centred.null_stderr,
            "centred_share": share,
            "centred_share_stderr": share_stderr,
        }
    return {
        name: {layer: row[name] for layer, row in rows.items()}
        for name in by_name(ANSATZ.quantities)
    }


ANSATZ = Observable(
    quantities=(
        NFA,
        CNFA,
        Quantity(
            name="cnfa_null",
            stderr=True,
            dims=("layer",),
            symbol="ρ(W̄ᵀW̄, W̄ᵀQKQᵀW̄)",
            meaning="cnfa if the gradients had no preferred directions, Q random orthogonal",
            low=0.0,
            high=1.0,
            source=DERIVED,
        ),
        Quantity(
            name="nfa_null",
            stderr=True,
            dims=("layer",),
            symbol="ρ(WᵀW, WᵀQKQᵀW)",
            meaning="nfa if the gradients had no preferred directions, Q random orthogonal",
            low=0.0,
            high=1.0,
            source=DERIVED,
        ),
        Quantity(
            name="centred_share",
            stderr=True,
            dims=("layer",),
            symbol="tr(F̄Ḡ)/tr(FG)",
            meaning="inner product of both sides of cnfa, in units of that of nfa",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_ansatz,
)

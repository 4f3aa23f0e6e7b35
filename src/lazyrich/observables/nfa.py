"""The neural feature ansatz of every layer, plain and centred, beside its null."""

from __future__ import annotations

from math import nan

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.ansatz_sketch import ansatz_from_sketches
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.shared import CNFA, NFA


def _ansatz(look: Look, reference: Reference) -> Row:
    names = ("nfa", "nfa_stderr", "nfa_null", "cnfa", "cnfa_null", "centred_share")
    row: dict[str, dict[str, float]] = {name: {} for name in names}
    for layer in look.layers:
        if layer.name == look.capture.readout:
            continue  # K = 1, its correlation is 1 by construction
        weight, sketches = layer.matrix, look.sketches(layer)
        moved = weight - reference.weights[layer.name].to(weight)
        plain, centred = (ansatz_from_sketches(w, *sketches) for w in (weight, moved))
        share = centred.inner / plain.inner if plain.inner else nan
        both = (plain.value, plain.stderr, plain.null, centred.value, centred.null, share)
        for name, value in zip(names, both, strict=True):
            row[name][layer.name] = value
    return dict(row)


ANSATZ = Observable(
    quantities=(
        NFA,
        CNFA,
        Quantity(
            name="cnfa_null",
            dims=("layer",),
            symbol="ρ(W̄ᵀW̄, W̄ᵀQKQᵀW̄)",
            meaning="cnfa if the gradients had no preferred directions, Q random orthogonal",
            low=0.0,
            high=1.0,
            source=DERIVED,
        ),
        Quantity(
            name="nfa_null",
            dims=("layer",),
            symbol="ρ(WᵀW, WᵀQKQᵀW)",
            meaning="nfa if the gradients had no preferred directions, Q random orthogonal",
            low=0.0,
            high=1.0,
            source=DERIVED,
        ),
        Quantity(
            name="nfa_stderr",
            dims=("layer",),
            symbol="σ(nfa)",
            meaning="standard error of nfa over samples and directions",
            low=0.0,
            source=DERIVED,
        ),
        Quantity(
            name="centred_share",
            dims=("layer",),
            symbol="tr(F̄Ḡ)/tr(FG)",
            meaning="inner product of both sides of cnfa, in units of that of nfa",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_ansatz,
)

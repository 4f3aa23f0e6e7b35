"""Looks at a network, each compared with the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

import torch
from torch.optim import Optimizer

from lazyrich._errors import NoDerivativeError, NotFiniteError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.belongings import copied
from lazyrich.capture.capture import capture
from lazyrich.capture.isolation import Leaves, brought_to, map_tensors, unwrap
from lazyrich.capture.look import (
    Look,
    Plan,
    PreviousKernel,
    Reference,
    asked_only,
    reference_of,
)
from lazyrich.capture.losses import Loss, OutputLoss, output_loss
from lazyrich.capture.optimizer_step import has_stepped, knows_rates, relative_rates
from lazyrich.capture.watch import Orders
from lazyrich.capture.weights import read_weights
from lazyrich.observables.observable import Observable, Row
from lazyrich.probe.other_parameters import (
    not_owned,
    other_parameters,
    rates_by_name,
    refuse_other_shapes,
)
from lazyrich.probe.state import InitialNetwork, State, start_of
from lazyrich.probe.steer.centred import without_references
from lazyrich.probe.wording import acts_otherwise, late_reference, one_by_one


class Measurements:
    """A network at any time, compared with what it was at the first look.

    Args:
        plan: what is measured and how.
        targets: targets of the probe samples.
        loss: loss of the probe.
        observables: the observables that are measured.
    """

    def __init__(
        self,
        plan: Plan,
        targets: Any,  # noqa: ANN401 - any nesting
        loss: Loss,
        observables: Sequence[Observable],
    ) -> None:
        # copies: a loop may load its next batch into the same tensors
        self.plan = replace(plan, inputs=map_tensors(copied, plan.inputs))
        self.targets = map_tensors(copied, targets)
        self.notes: list[str] = []
        self.rates_unknown = False  # of several groups, all of them still 0
        self._loss = loss
        self._observables = observables
        self._fixed_loss: OutputLoss | None = None
        self._reference: Reference | None = None
        self._start: InitialNetwork | None = None
        self._kernels: list[PreviousKernel] = []  # the last two

    def go_on(self, state: State) -> None:
        """Go on from what was seen before; the reference is taken again when it is needed.

        Args:
            state: state of a probe that was made alike.
        """
        self._fixed_loss = self._reference = None
        self._start, self._kernels = state.start, list(state.kernels)
        self.notes, self.rates_unknown = list(state.notes), state.rates_unknown
        if state.start is not None:
            self.plan = replace(self.plan, lrs=state.lrs)

    @property
    def start(self) -> InitialNetwork | None:
        """The network at the first look; None before it."""
        return self._start if self._reference is None else start_of(self._reference)

    @property
    def kernels(self) -> Sequence[PreviousKernel]:
        """The last ones."""
        return tuple(self._kernels)

    @property
    def reference(self) -> Reference | None:
        """The first look; None before it."""
        if self._reference is None and self._start is not None:
            with torch.no_grad(), exact_arithmetic():
                leaves = self._start.leaves(unwrap(self.plan.model))
                self._reference = self._referred(self._look(None, leaves=leaves))
            self._kernels = [
                replace(one, kernel=brought_to(self.plan.model, one.kernel))
                for one in self._kernels
            ]
        return self._reference

    def remarks(self, reference: Reference) -> dict[str, str]:
        """What a reader of the history has to know: `skipped` and `notes`, one a line."""
        skipped = (f"{name or '(root)'}: {why}" for name, why in reference.skipped.items())
        notes = dict.fromkeys([*self.notes, *reference.network.notes])
        return {"skipped": "\n".join(skipped), "notes": "\n".join(notes)}

    def row(self, step: int, optimizer: Optimizer | None) -> Row:
        """One look; the first one becomes the reference.

        Args:
            step: optimiser steps made so far.
            optimizer: the same as in `Look`.

        Returns:
            What was measured; of a network that has become NaN, only that its loss is NaN.
        """
        if self._reference is None and self._start is None:
            stepped = optimizer is not None and has_stepped(optimizer)
            self.notes[:0] = late_reference(step, stepped=stepped)
            self.rates_unknown = self.plan.lrs is None and optimizer is not None
        if self.rates_unknown and optimizer is not None:
            self._take_rates(step, optimizer)
        known = self.reference
        before = [one for one in self._kernels if one.step < step]
        with torch.no_grad(), exact_arithmetic():
            try:
                look = self._look_again(known, step=step, optimizer=optimizer, before=before)
                if known is None:
                    self._reference = known = self._referred(look)
                self._note_others(look, known)
                row: Row = {}
                for observable in self._observables:
                    row |= self._measured(observable, look, known)
                if known.kernel is not None:
                    self._kernels = [*before[-1:], PreviousKernel(step=step, kernel=look.kernel)]
            except NotFiniteError:
                if self._reference is None:
                    raise
                return {"loss": nan}
        return row

    def _take_rates(self, step: int, optimizer: Optimizer) -> None:
        """Those of the first look at which one is not 0; the reference is then taken again."""
        start = self.start
        if knows_rates(optimizer):
            model = unwrap(self.plan.model)
            rates = relative_rates(optimizer, model, start.trainable if start else None)
            self.notes += filter(None, [not_owned(rates, optimizer, model)])
            self.rates_unknown = False
            if start is None:
                self.plan = replace(self.plan, lrs=rates)
            elif rates is not None:
                self.plan = replace(self.plan, lrs=rates)
                self._start, self._reference, self._kernels = start, None, []
                self.notes.append(f"Learning rates inside the kernel are those of step {step}.")
        elif start is None:
            self.notes.append(
                "All learning rates were 0 at the first look: until one is not, all count alike."
            )

    def _look_again(self, known: Reference | None, **options: Any) -> Look:  # noqa: ANN401
        """A look that takes rows of products in the order of the first one, if that still holds."""
        if known is None or not known.structure.orders or not self.plan.kernel:
            return self._look(known, **options)
        look = self._look(known, orders=known.structure.orders, **options)
        if look.kept.trusted == known.structure.trusted:  # which also proves that order
            return look
        return self._look(known, **options)

    def _look(
        self,
        known: Reference | None,
        *,
        step: int = 0,
        optimizer: Optimizer | None = None,
        before: Sequence[PreviousKernel] = (),
        leaves: Leaves | None = None,
        orders: Orders | None = None,
    ) -> Look:
        if known is None:  # a trainer may have moved the model since
            self.plan = replace(self.plan, inputs=brought_to(self.plan.model, self.plan.inputs))
            self.targets = brought_to(self.plan.model, self.targets)
        conditions = known.network.conditions if known else None
        if known is not None:
            leaves = read_weights(unwrap(self.plan.model)).leaves(start_of(known).trains)
            rates = rates_by_name(self.plan.lrs, [n for n, t in leaves.items() if t.requires_grad])
            self.plan = replace(self.plan, lrs=rates)
        seen = without_references(
            capture(self.plan.model, self.plan.inputs, conditions, leaves, orders)
        )
        if known is not None:
            refuse_other_shapes(
                {**seen.leaves, "": seen.outputs}, {**known.network.theta, "": known.outputs}
            )
        if self._fixed_loss is None:
            outputs = seen.outputs.detach().view(seen.shape)
            self._fixed_loss = output_loss(self._loss, outputs, self.targets)
        return Look(
            plan=self.plan,
            capture=asked_only(seen, self._fixed_loss),
            fixed_loss=self._fixed_loss,
            first=known.structure if known else None,
            optimizer=optimizer,
            step=step,
            previous=before[-1] if before else None,
        )

    def _referred(self, look: Look) -> Reference:
        centred = any(observable.centred for observable in self._observables)
        return reference_of(look, centred=centred)

    def _note_others(self, look: Look, known: Reference) -> None:
        """What is no longer as at the first look: layers that act, parameters that have factors."""
        alike = {layer.name for layer in look.layers}
        acting = (x.name for x in look.capture.layers if x.trains(look.capture.leaves))
        others = [name for name in dict.fromkeys([*known.weights, *acting]) if name not in alike]
        factors = known.structure.trusted or ()
        still = (look.kept.trusted or ()) if factors else ()
        lost = [name for name in factors if name not in still]
        model, start = look.capture.model, start_of(known)
        notes = [*other_parameters(dict(model.named_parameters()), start.trains)]
        notes += [acts_otherwise(others)] if others else []
        notes += [one_by_one(lost)] if lost else []
        self.notes += [note for note in notes if note not in self.notes]

    def _measured(self, observable: Observable, look: Look, known: Reference) -> Row:
        """One observable; NaN with a note where PyTorch lacks the derivatives, or numbers end."""
        try:
            return observable.measure(look, known)
        except NoDerivativeError as error:
            why = str(error)
        except OverflowError:  # as before a run that diverges is no longer finite
            why = f"numbers at step {look.step} are too large for a double."
        self.notes.append(f"Not measured: {', '.join(observable.names)}, since {why}")
        return {q.name: {} if "layer" in q.dims else nan for q in observable.quantities}

"""The look's own pass as the last of those that find out its conditions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from lazyrich.capture.first_look import Found
from lazyrich.capture.isolation import Leaves, tensors_in
from lazyrich.capture.pass_changes import Norms, changing
from lazyrich.capture.repetition import have_drawn, is_repeated


class Witness:
    """Whether a look's own pass does what the passes before it did, and leaves all as it was.

    Args:
        model: the plain module.
        leaves: the tensors on which it runs.
        found: what the passes before found out.
    """

    def __init__(self, model: nn.Module, leaves: Leaves, found: Found) -> None:
        self._model, self._leaves, self._found = model, leaves, found
        self._changed = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """See the pass inside; it is all the same where one in evaluation mode was seen before."""
        if not self._found.unseen:
            yield
            return
        before = {name: leaf.detach().clone() for name, leaf in self._leaves.items()}
        with changing(self._model, before, Norms(self._model)) as changes:
            yield
        self._changed = changes().any

    def agrees(self, result: object, first: object) -> bool:
        """Whether nothing changed, nobody drew and the result is what it was.

        Args:
            result: the result of the pass; call this inside of its `undisturbed`.
            first: the result of a pass under the same conditions; None for the last one before the
                look.
        """
        outputs = self._found.outputs if first is None else tuple(tensors_in(first))
        again = tuple(tensors_in(result))
        alike = len(outputs) == len(again) and all(map(is_repeated, outputs, again))
        return alike and not self._changed and not have_drawn(self._found.conditions.generators)

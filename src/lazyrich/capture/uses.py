"""Which captured layers use a parameter, and as what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lazyrich.capture import modules as layers
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.pieces import Piece, are_apart

TABLES = nn.Embedding, layers.Lookup


@dataclass(frozen=True, kw_only=True)
class Use:
    """A use of a parameter, or of a part of it, by a captured layer: as which of its tensors."""

    layer: Layer
    role: str
    piece: Piece

    @property
    def name(self) -> str:
        """The layer's for a weight, else the parameter's."""
        of_parameter = f"{self.piece.parameter}{self.piece.suffix()}"
        return self.layer.name if self.role == "weight" else of_parameter


def uses_of(capture: Capture) -> dict[str, list[Use]]:
    """Trainable parameter → captured uses; a parametrized weight is no parameter and not listed."""
    uses: dict[str, list[Use]] = defaultdict(list)
    for layer in (*capture.layers, *capture.small):
        for role, piece in layer.tensors.items():
            if capture.leaves[piece.parameter].requires_grad:
                uses[piece.parameter].append(Use(layer=layer, role=role, piece=piece))
    return uses


def same_kind(shared: Sequence[Use]) -> bool:
    """Whether there is a factor of all uses: by matrices, or by one matrix and lookups of it."""
    if len(shared) == 1:
        return True
    forms = {isinstance(use.layer.module, TABLES) for use in shared}
    if True in forms:
        return len({use.piece for use in shared}) == 1 and not _groups(shared) - {1}
    linear = all(use.layer.is_linear for use in shared)
    return linear and len(_groups(shared)) == 1 and are_apart(use.piece for use in shared)


def _groups(shared: Sequence[Use]) -> set[int]:
    return {getattr(use.layer.module, "groups", 1) for use in shared}

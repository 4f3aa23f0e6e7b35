"""What grows between two networks of a family, and so what is matched, and by which factors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import nan

from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop

from lazyrich._arguments import shown
from lazyrich._errors import InputError
from lazyrich.capture.network import layer_of
from lazyrich.probe.transfer.blocks import growing_lists, item_of, keys_over_depth
from lazyrich.probe.transfer.family import Anatomy
from lazyrich.probe.transfer.updates import Flow
from lazyrich.vocabulary.regimes import Word


class Axis(Word):
    """What a family's size is."""

    WIDTH = "width"
    DEPTH = "depth"


class Role(Word):
    """What a parameter is to the width, by which of its sizes grow."""

    INPUT = "input"
    HIDDEN = "hidden"
    READOUT = "readout"
    VECTOR = "vector"
    FIXED = "fixed"
    UNKNOWN = "unknown"


MUP = {
    SGD: {"input": 1.0, "vector": 1.0, "hidden": 0.0, "readout": -1.0, "fixed": 0.0},
    Adam: {"input": 0.0, "vector": 0.0, "hidden": -1.0, "readout": -1.0, "fixed": 0.0},
}
"""Exponents of learning rates in the maximal update parametrisation, for initial variances 1/fan-in
but 1/fan-in² in readouts: Yang et al., Tensor Programs V, arXiv:2203.03466, Table 3."""

MUP_READOUT_INIT = -0.5  # against the standard deviation 1/√fan-in
LIKE_ADAM = (Adam, AdamW, NAdam, RAdam, RMSprop)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a family's members have in common.

    Attributes:
        axis: what the size is.
        roles: key of a parameter → its role.
        readouts: places, over widths, whose inputs grow and whose outputs do not.
        branches: patterns of the layers that end a residual branch, for depth.
        lists: paths of the lists of blocks that grow with the depth.
        blocks: keys of the parameters of which there are more in a deeper network.
    """

    axis: Axis
    roles: Mapping[str, Role]
    readouts: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    lists: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()

    def keys(self, member: Anatomy) -> dict[str, str]:
        """What every parameter of a member is called in all of them, by name."""
        return self.keys_of(member.shapes)

    def keys_of(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """The same from names and shapes.

        Over widths it is the name; over depths the name without the number of its block.
        """
        return keys_over_depth(shapes, self.lists)

    def absolute(self, member: Anatomy) -> set[str]:
        """Parameters whose own update counts as it is, and not in units of what it updates.

        Those of readouts, whose outputs are small in a wide network, and those that belong to the
        model itself, whose updates are seen on its output. What updates outputs that start at 0
        counts as it is, too.
        """
        return {n for n, place in member.places.items() if not place or place in self.readouts}

    def flows(self, member: Anatomy) -> list[tuple[Flow, tuple[str, ...]]]:
        """What is asked of a member besides own updates, and the tensors whose init it sets.

        Over widths, of every readout: what comes from below. Where none with a weight of its own,
        and so an init, gives the outputs of the network, what all steps do to these. Over depths,
        of the network: what all blocks together do to its output.
        """
        if self.axis == Axis.DEPTH:
            return self._flow_of_blocks(member)
        owned = {place: self.owned_by(member, place) for place in self.readouts}
        flows = [(_flow_to(member, place), own) for place, own in owned.items() if own]
        if any(member.entries[flow.place][1] == member.outputs for flow, _ in flows):
            return flows
        return [*flows, (Flow(place="", parameters=frozenset(member.shapes)), ())]

    def owned_by(self, member: Anatomy, place: str) -> tuple[str, ...]:
        """The parameters of a readout; none if its weight belongs to another layer.

        Args:
            member: the network.
            place: path of the readout.
        """
        own = tuple(name for name in member.shapes if member.places[name] == place)
        return own if any(self.roles[name] == Role.READOUT for name in own) else ()

    def _flow_of_blocks(self, member: Anatomy) -> list[tuple[Flow, tuple[str, ...]]]:
        ends = tuple(
            name
            for name in member.shapes
            if any(fnmatchcase(layer_of(name), pattern) for pattern in self.branches)
        )
        items = {item_of(name, self.lists) for name in ends} - {""}
        blocks = frozenset(
            name
            for name, key in self.keys(member).items()
            if key in self.blocks or item_of(name, self.lists) in items
        )
        return [(Flow(place="", parameters=blocks), ends)] if ends else []

    def tabled(self, key: str, owner: type[Optimizer] | None) -> float:
        """The exponent of a learning rate in muP, NaN where its table has none.

        Args:
            key: key of the parameter.
            owner: the kind of optimiser that owns it.
        """
        rule = SGD if owner is SGD else Adam if owner in LIKE_ADAM else None
        if self.axis == Axis.DEPTH or rule is None:
            return nan
        return MUP[rule].get(self.roles[key], nan)


def _flow_to(member: Anatomy, place: str) -> Flow:
    return Flow(place=place, parameters=frozenset(member.shapes) - member.read[place])


def layout_of(small: Anatomy, large: Anatomy, branches: Sequence[str]) -> Layout:
    """Compare two members.

    Raises:
        InputError: they have nothing in common, or differ in width and depth.
    """
    if small.shapes == large.shapes:
        raise InputError(
            "`factory` must change the width or the depth of a network with the size, got the same "
            f"shapes at size {small.size} and {large.size}. Use the size in it; blocks that share "
            "their weights are one to a transfer."
        )
    if set(small.shapes) == set(large.shapes):
        readouts = tuple(_readouts(small, large))
        roles = {name: _role(name, small, large, readouts) for name in small.shapes}
        return Layout(axis=Axis.WIDTH, roles=roles, readouts=readouts)
    lists = growing_lists(small.shapes, large.shapes)
    layout = Layout(axis=Axis.DEPTH, roles={}, branches=tuple(branches), lists=lists)
    kinds, others = (_shapes_by_key(layout, one) for one in (small, large))
    if changed := {key for key in kinds | others if kinds.get(key) != others.get(key)}:
        raise InputError(
            "`factory` must change the width or the depth of a network: parameters of the same "
            "names with other shapes, or more blocks of the same shapes in a list, as `blocks.0`. "
            f"Between size {small.size} and {large.size} it changes {shown(sorted(changed))}. For "
            "both, transfer over depth first, and then over width; let a block of every kind be in "
            "the small network."
        )
    _refuse_branches(layout, large)
    few, many = (Counter(layout.keys(one).values()) for one in (small, large))
    blocks = frozenset(key for key in many if many[key] > few[key])
    return replace(layout, roles=dict.fromkeys(kinds, Role.FIXED), blocks=blocks)


def _shapes_by_key(layout: Layout, member: Anatomy) -> dict[str, tuple[int, ...]]:
    return {key: member.shapes[name] for name, key in layout.keys(member).items()}


def _refuse_branches(layout: Layout, large: Anatomy) -> None:
    layers = dict.fromkeys(layer_of(name) for name in large.shapes)
    for pattern in layout.branches:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise InputError(
                f"`branches` must match layers of the model, got {pattern!r}, which matches none. "
                f"The layers are {shown(list(layers))}."
            )


def _readouts(small: Anatomy, large: Anatomy) -> Iterator[str]:
    for place, (took, gave) in small.entries.items():
        takes, gives = large.entries[place]
        if takes != took and gives == gave:
            yield place


def _role(name: str, small: Anatomy, large: Anatomy, readouts: Sequence[str]) -> Role:
    a, b = small.shapes[name], large.shapes[name]
    if len(a) != len(b):
        raise InputError(
            f"`{name}` must have as many dimensions at every size, got {a} and {b}. Let the size "
            "change how large they are only."
        )
    grow = sum(m != n for m, n in zip(a, b, strict=True))
    if grow == 0:
        return Role.FIXED
    if grow > 1:
        return Role.HIDDEN
    if small.places[name] in readouts:
        return Role.READOUT
    if len(a) == 1:
        return Role.VECTOR
    _, gave = small.entries[small.places[name]]
    _, gives = large.entries[large.places[name]]
    return Role.INPUT if gives != gave else Role.UNKNOWN  # used by a module that has others, too

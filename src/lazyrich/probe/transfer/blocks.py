"""Numbered blocks: which lists of them grow with the depth, and which of their items are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter → its shape."""


def growing_lists(small: Iterable[str], large: Iterable[str]) -> frozenset[str]:
    """Paths of the lists that have more items in one network than in the other.

    A list inside of the items of such a one is known by a path with a star for their number.

    Args:
        small: names of the parameters of the one.
        large: names of the parameters of the other.

    Example:
        >>> small = ["blocks.0.mlp.0.weight", "blocks.0.mlp.2.weight", "last.weight"]
        >>> growing_lists(small, [*small, "blocks.1.mlp.0.weight", "blocks.1.mlp.2.weight"])
        frozenset({'blocks'})
    """
    small, large = list(small), list(large)
    lists: frozenset[str] = frozenset()
    while True:
        one, other = _items(small, lists), _items(large, lists)
        grown = [path for path in one.keys() & other.keys() if one[path] != other[path]]
        if not grown:
            return lists
        lists |= {min(grown, key=len)}  # from the outside inwards


def keys_over_depth(shapes: Shapes, lists: frozenset[str]) -> dict[str, str]:
    """Names without the number of their block; what is not alike is counted.

    Items of a list are alike if their parameters have the same names and shapes. The first and
    last layers of a plain sequence are items, too, of other kinds.

    Args:
        shapes: shapes of the parameters, by name.
        lists: the same as from `growing_lists`.

    Example:
        >>> shapes = {"0.weight": (4, 2), "1.weight": (4, 4), "2.weight": (4, 4)}
        >>> list(keys_over_depth(shapes, frozenset({""})).values())
        ['*.weight (1 of 2)', '*.weight (2 of 2)', '*.weight (2 of 2)']
    """
    parts = {name: _parts(name, lists) for name in shapes}
    contents: defaultdict[str, set[object]] = defaultdict(set)
    for name, (_, item, rest) in parts.items():
        contents[item].add((rest, shapes[name]))
    kinds: defaultdict[str, list[set[object]]] = defaultdict(list)
    for path, item, _ in parts.values():
        if contents[item] not in kinds[path]:
            kinds[path].append(contents[item])
    return {
        name: _counted(path, kinds[path].index(contents[item]), len(kinds[path])) if item else name
        for name, (path, item, _) in parts.items()
    }


def item_of(name: str, lists: frozenset[str]) -> str:
    """The block that a parameter belongs to; empty if it is in no list that grows.

    Args:
        name: name of the parameter.
        lists: the same as from `growing_lists`.

    Example:
        >>> item_of("layers.3.mlp.0.weight", frozenset({"layers"}))
        'layers.3'
    """
    _, item, _ = _parts(name, lists)
    return item


def _counted(path: str, index: int, count: int) -> str:
    return path if count == 1 else f"{path} ({index + 1} of {count})"


def _items(names: Iterable[str], lists: frozenset[str]) -> dict[str, set[str]]:
    """Path of a list → the numbers of its items."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        path, _, _ = _parts(name, lists)
        steps = path.split(".")
        for i, step in enumerate(steps):
            if step.isdigit():
                found[".".join(steps[:i])].add(step)
    return found


def _parts(name: str, lists: frozenset[str]) -> tuple[str, str, str]:
    """A name with stars for the numbers of growing lists, the innermost item, and what follows."""
    steps, starred, end = name.split("."), list[str](), 0
    for i, step in enumerate(steps):
        grows = step.isdigit() and ".".join(starred) in lists
        starred.append("*" if grows else step)
        end = i + 1 if grows else end
    return ".".join(starred), ".".join(steps[:end]), ".".join(steps[end:])

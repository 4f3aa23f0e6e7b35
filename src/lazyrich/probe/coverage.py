"""Which share of the kernel the layers of a table bring, and what is not studied and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite

from lazyrich.vocabulary.numerals import in_words

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")  # a part of a path, such as that of a block


def sentences(share: float, skipped: Sequence[str]) -> tuple[str, ...]:
    """What is said after a table; nothing where nothing is left out.

    Args:
        share: share of the kernel's trace that layers with a weight to study bring; NaN if unknown.
        skipped: `name: reason`, one for each module or parameter without a weight to study.

    Example:
        >>> skipped = [f"blocks.{i}.norm: a norm" for i in range(3)] + ["position: no product"]
        >>> for sentence in sentences(0.93, skipped):
        ...     print(sentence)
        Layers with a weight to study bring 93 % of the kernel's trace at the start.
        Not studied: blocks.*.norm (3): a norm; position: no product.
    """
    if not skipped:
        return ()
    names: dict[str, list[str]] = {}
    for line in skipped:
        name, _, reason = line.partition(": ")
        names.setdefault(reason, []).append(name)
    parts = (f"{', '.join(shortened(own))}: {reason}" for reason, own in names.items())
    left = f"Not studied: {'; '.join(parts)}."
    if not isfinite(share):
        return (left,)
    percent = in_words(100 * share)
    return (
        f"Layers with a weight to study bring {percent} % of the kernel's trace at the start.",
        left,
    )


def shortened(names: Iterable[str]) -> list[str]:
    """Paths that differ in numbers alone as one, with how many they are.

    Example:
        >>> shortened(["h.0.norm", "head", "h.1.norm"])
        ['h.*.norm (2)', 'head']
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_NUMBER.sub("*", name), []).append(name)
    return [
        own[0] if len(own) == 1 else f"{pattern} ({len(own)})" for pattern, own in alike.items()
    ]

"""What was measured, as a table over steps and layers, and as scalars for a logger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.observables.catalogue import quantities
from lazyrich.observables.observable import Row
from lazyrich.vocabulary.losses import under

Sink = Callable[[dict[str, float], int], object]
"""Takes scalars and the step."""


def as_dataset(
    steps: Sequence[int],
    rows: Sequence[Row],
    layers: Sequence[str],
    loss: str,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """All measurements in one Dataset.

    Args:
        steps: when they were made.
        rows: what they gave; a quantity that one of them lacks is NaN there.
        layers: names of the layers, in forward order.
        loss: what the loss is called; its convention stands at its values.
        attrs: attributes of the Dataset.

    Returns:
        Dims `step` and `layer`; every variable with the attributes of the vocabulary.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    nan, known = float("nan"), quantities()
    known["loss"] = under(loss, known["loss"])
    variables: dict[str, tuple[tuple[str, ...], Any, dict[str, str]]] = {}
    for name in names:
        values = [row.get(name, nan) for row in rows]
        if any(isinstance(value, dict) for value in values):
            table = [
                [value.get(layer, nan) if isinstance(value, dict) else nan for layer in layers]
                for value in values
            ]
            variables[name] = (("step", "layer"), np.array(table), known[name].attrs)
        else:
            variables[name] = (("step",), np.array(values), known[name].attrs)
    return xr.Dataset(
        variables,
        coords={"step": np.asarray(steps, dtype=np.int64), "layer": np.asarray(layers, dtype=str)},
        attrs=dict(attrs),
    )


def scalars(row: Row) -> dict[str, float]:
    """A measurement as flat scalars, `lazyrich/<quantity>` or `lazyrich/<quantity>/<layer>`.

    Example:
        >>> scalars({"loss": 0.5, "nfa": {"0": 0.9}})
        {'lazyrich/loss': 0.5, 'lazyrich/nfa/0': 0.9}
    """
    flat: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"lazyrich/{name}/{layer}": x for layer, x in value.items()}
        else:
            flat[f"lazyrich/{name}"] = value
    return flat


def as_sink(log: Any) -> Sink:  # noqa: ANN401 - checked here
    """A function of scalars and step from what the user gave.

    Args:
        log: a callable `(dict, step)`, or a writer with `add_scalar(name, value, step)` as
            TensorBoard's.

    Raises:
        InputError: neither of them.
    """
    if hasattr(log, "add_scalar"):

        def write(values: dict[str, float], step: int) -> None:
            for name, value in values.items():
                log.add_scalar(name, value, step)

        return write
    if callable(log):
        return log
    raise InputError(
        "`log` must be a callable (dict, step) or a writer with `add_scalar`, got "
        f"{type(log).__name__}. Pass `writer`, or `lambda values, step: ...`."
    )

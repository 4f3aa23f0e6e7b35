"""The record of the proof of the transfer: its goals, its table, its figure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

OCTAVES, WORSE = 0.5, 1.02  # that the optimum may move; that a loss may be above the best
NAMES = {"standard": "standard", "table": "muP's table", "lazyrich": "lazyrich"}
TITLES = {
    "mlp": "MLP", "digits": "MLP on digits",
    "residual": "residual MLP", "cnn": "CNN",
    "cnn_norm": "CNN with BatchNorm", "transformer": "transformer",
}  # fmt: skip
Row = dict[str, Any]


def summary(parts: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for every family, optimiser and scheme: how it went from the smallest to the largest.

    Args:
        parts: of the record.
    """
    rows = []
    for part in parts:
        sizes = part["family"]["sizes"]
        first = _curve(part, "standard", sizes[0])["minimum"]
        best = {scheme: _best(part, scheme, sizes[-1]) for scheme in NAMES}
        for scheme in NAMES:
            last = _curve(part, scheme, sizes[-1])["minimum"]
            cost = _mean(_transferred(part, scheme, sizes[-1])) / best[scheme]
            row = {
                "family": part["family"]["name"],
                "task": part["family"]["task"],
                "axis": part["family"]["axis"],
                "data": part["family"]["data"],
                "from": sizes[0],
                "to": sizes[-1],
                "optimizer": part["optimizer"],
                "scheme": scheme,
                "optimum_small": first["rate"],
                "optimum_large": last["rate"],
                "moved": last["rate"] - first["rate"],
                "moved_stderr": math.hypot(first["stderr"], last["stderr"]),
                "best": best[scheme],
                "best_of_small": _best(part, "standard", sizes[0]),
                "cost": cost,
                "against_table": best[scheme] / best["table"],
                "against_standard": best[scheme] / best["standard"],
            }
            rows.append(row | {"goals": goals(row)})
    return rows


def goals(row: Row) -> dict[str, bool]:
    """Which goals a row meets.

    Args:
        row: of the summary.
    """
    return {
        "stays": abs(row["moved"]) <= OCTAVES,
        "costs little": row["cost"] <= WORSE,
        "as good as the table": row["against_table"] <= WORSE,
    }


def _curve(part: Mapping[str, Any], scheme: str, size: int) -> Mapping[str, Any]:
    small = size == part["family"]["sizes"][0]
    wanted = ("standard" if small else scheme, size)
    return next(one for one in part["curves"] if (one["scheme"], one["size"]) == wanted)


def _transferred(part: Mapping[str, Any], scheme: str, size: int) -> list[float | None]:
    found = next(x for x in part["transferred"] if (x["scheme"], x["size"]) == (scheme, size))
    losses: list[float | None] = found["losses"]
    return losses


def _best(part: Mapping[str, Any], scheme: str, size: int) -> float:
    """The lowest loss of a curve: the least of its fit and its points, the transferred one too."""
    curve = _curve(part, scheme, size)
    points = [*curve["losses"]]
    if size != part["family"]["sizes"][0]:
        points.append(_transferred(part, scheme, size))
    return min(curve["minimum"]["loss"], *map(_mean, points))


def _mean(losses: Sequence[float | None]) -> float:
    """Geometric; infinite if one diverged."""
    if any(one is None for one in losses):
        return math.inf
    return math.exp(sum(math.log(one) for one in losses if one) / len(losses))


def page(rows: Sequence[Row]) -> str:
    """The table.

    Args:
        rows: of the summary.
    """
    lines = [
        "| network | optimiser | scheme | optimum moves by | loss at the carried rate / best | "
        "best loss | against the table's | against the standard's own | goals |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        missed = [name for name, kept in row["goals"].items() if not kept]
        told = ("misses: " + ", ".join(missed) if missed else "all") if _is_ours(row) else ""
        lines.append(
            f"| {TITLES[row['task']]}, {row['axis']} {row['from']} to {row['to']} | "
            f"{row['optimizer']} | {NAMES[row['scheme']]} | {row['moved']:+.2f} "
            f"± {row['moved_stderr']:.2f} | {row['cost']:.3f} | "
            f"{row['best']:.4f} | {row['against_table']:.3f} | {row['against_standard']:.3f} | "
            f"{told} |"
        )
    return "\n".join(lines) + "\n"


def _is_ours(row: Row) -> bool:
    return bool(row["scheme"] == "lazyrich")


def write(
    target: Path,
    setting: Mapping[str, Any],
    rows: Sequence[Row],
    parts: Sequence[Mapping[str, Any]],
) -> None:
    """Write the record as JSON, and its table as Markdown.

    Args:
        target: file stem.
        setting: of the run.
        rows: of the summary.
        parts: the curves.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    record = {**setting, "summary": list(rows), "parts": list(parts)}
    target.with_suffix(".json").write_text(json.dumps(record) + "\n", "utf-8")
    target.with_suffix(".md").write_text(page(rows), "utf-8")


def plotted(parts: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss against learning rate, one curve a size, a column for each scheme.

    Args:
        parts: of the record.
    """
    figure = Figure(figsize=(9, 1.9 * len(parts)), layout="constrained")
    axes = figure.subplots(len(parts), len(NAMES), sharex="row", sharey="row", squeeze=False)
    for row, part in zip(axes, parts, strict=True):
        sizes = part["family"]["sizes"]
        floor = min(_best(part, scheme, size) for scheme in NAMES for size in sizes)
        worst = max(_best(part, "standard", sizes[0]), floor)
        for ax, scheme in zip(row, NAMES, strict=True):
            for i, size in enumerate(sizes):
                curve = _curve(part, scheme, size)
                points = [(2.0**x, _mean(ys)) for x, ys in _pairs(curve)]
                colour = f"C{i}"
                ax.plot(*zip(*points, strict=True), ".-", color=colour, label=str(size))
                ax.plot(
                    2.0 ** curve["minimum"]["rate"], curve["minimum"]["loss"], "*", color=colour
                )
            ax.axvline(2.0 ** part["best_rate"], color="0.7", lw=0.8, zorder=0)
            ax.set_xscale("log", base=2)
            ax.set_ylim(floor / 1.1, worst * 1.5)
            if worst > 2 * floor:
                ax.set_yscale("log")
            ax.set_title(f"{part['optimizer']}, {NAMES[scheme]}", fontsize="small")
        row[0].set_ylabel(f"{TITLES[part['family']['task']]}\nloss", fontsize="small")
        row[-1].legend(title=part["family"]["axis"], fontsize="x-small", title_fontsize="x-small")
    for ax in axes[-1]:
        ax.set_xlabel("learning rate")
    return figure


def _pairs(curve: Mapping[str, Any]) -> list[tuple[float, list[float | None]]]:
    both = zip(curve["rates"], curve["losses"], strict=True)
    return [(rate, losses) for rate, losses in both if None not in losses]

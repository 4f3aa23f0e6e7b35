"""The record of the proof of the transfer: its goals, its table, its figure."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

OCTAVES, WORSE = 0.5, 1.02  # that the optimum may move; that a loss may be above the best
OTHERS = ("standard", "table")
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
        best = {scheme: _best(part, scheme, sizes[-1]) for scheme in part["schemes"]}
        for scheme in best:
            last = _curve(part, scheme, sizes[-1])["minimum"]
            carried = _carried(part, scheme, sizes[-1])
            at_best = _lowest_point(part, scheme, sizes[-1])
            of_table = _lowest_point(part, "table", sizes[-1])
            cost = _mean(carried) / best[scheme]
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
                "cost": cost if math.isfinite(cost) else None,
                "cost_stderr": _stderr(carried, at_best),
                "against_table": best[scheme] / best["table"],
                "against_table_stderr": _stderr(at_best, of_table),
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
        "costs little": row["cost"] is not None and row["cost"] <= WORSE,
        "as good as the table": row["against_table"] <= WORSE,
    }


def _curve(part: Mapping[str, Any], scheme: str, size: int) -> Mapping[str, Any]:
    small = size == part["family"]["sizes"][0]
    wanted = ("standard" if small else scheme, size)
    return next(one for one in part["curves"] if (one["scheme"], one["size"]) == wanted)


def _carried(part: Mapping[str, Any], scheme: str, size: int) -> list[float | None]:
    found = next(x for x in part["carried"] if (x["scheme"], x["size"]) == (scheme, size))
    losses: list[float | None] = found["losses"]
    return losses


def _best(part: Mapping[str, Any], scheme: str, size: int) -> float:
    """The lowest loss of a curve: the least of its fit and its points, the carried one too."""
    curve = _curve(part, scheme, size)
    points = [*curve["losses"]]
    if size != part["family"]["sizes"][0]:
        points.append(_carried(part, scheme, size))
    return min(curve["minimum"]["loss"], *map(_mean, points))


def _lowest_point(part: Mapping[str, Any], scheme: str, size: int) -> list[float | None]:
    """The losses of all seeds at the best rate that was trained."""
    curve = _curve(part, scheme, size)
    most = max(map(len, curve["losses"]))
    losses: list[float | None] = min(
        (one for one in curve["losses"] if len(one) == most), key=_mean
    )
    return losses


def _stderr(these: Sequence[float | None], those: Sequence[float | None]) -> float | None:
    """Of the logarithm of the ratio of their means, seed by seed; None where one diverged."""
    both = list(zip(these, those, strict=True))
    logs = [math.log(a / b) for a, b in both if a and b]
    if len(logs) < max(len(both), 2):
        return None
    return statistics.stdev(logs) / math.sqrt(len(logs))


def _mean(losses: Sequence[float | None]) -> float:
    """Geometric; infinite if one diverged."""
    if any(one is None for one in losses):
        return math.inf
    return math.exp(sum(math.log(one) for one in losses if one) / len(losses))


def page(rows: Sequence[Row]) -> str:
    """The whole table.

    Args:
        rows: of the summary.
    """
    lines = [
        "| network | optimiser | scheme | optimum moves by (octaves) | carried rate costs | "
        "best loss | against the table's | against the standard's own | misses |",
        "|" + 9 * "---|",
    ]
    for row in rows:
        missed = ", ".join(name for name, kept in row["goals"].items() if not kept) or "nothing"
        cells = [
            network(row),
            row["optimizer"],
            row["scheme"],
            f"{row['moved']:+.2f} ± {row['moved_stderr']:.2f}",
            _percent(row["cost"], row["cost_stderr"]),
            f"{row['best']:.4f}",
            _percent(row["against_table"], row["against_table_stderr"]),
            _percent(row["against_standard"]),
            "" if row["scheme"] in OTHERS else missed,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def short(rows: Sequence[Row]) -> str:
    """The table of the documentation: a line a network and optimiser.

    Args:
        rows: of the summary.
    """
    lines = [
        "| network | optimiser | optimum moves by, octaves | carrying the rate costs | "
        "best loss against the table's | against the standard's own |",
        "|" + 6 * "---|",
    ]
    for _, alike in groupby(rows, lambda row: (row["family"], row["optimizer"])):
        each = list(alike)
        ours = [row for row in each if row["scheme"] not in OTHERS]
        cells = [
            network(each[0]),
            each[0]["optimizer"],
            " / ".join(f"{row['moved']:+.1f}" for row in each),
            " / ".join(_percent(row["cost"]) for row in each),
            " / ".join(_percent(row["against_table"]) for row in ours),
            " / ".join(_percent(row["against_standard"]) for row in ours),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def network(row: Row) -> str:
    """What a row is about.

    Args:
        row: of the summary.
    """
    return f"{TITLES[row['task']]}, {row['axis']} {row['from']} to {row['to']}"


def _percent(ratio: float | None, stderr: float | None = None) -> str:
    if ratio is None:
        return "diverges"
    return f"{100 * (ratio - 1):+.1f} %" + (f" ± {100 * stderr:.1f}" if stderr else "")


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
    target.with_suffix(".json").write_text(json.dumps(record, allow_nan=False) + "\n", "utf-8")
    target.with_suffix(".md").write_text(page(rows), "utf-8")


def plotted(parts: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss against learning rate, one curve a size, a column for each scheme.

    Args:
        parts: of the record, of one optimiser.
    """
    figure = Figure(figsize=(11, 0.5 + 1.7 * len(parts)), layout="constrained")
    names = parts[0]["schemes"]
    axes = figure.subplots(len(parts), len(names), sharex="row", sharey="row", squeeze=False)
    for row, part in zip(axes, parts, strict=True):
        for ax, scheme in zip(row, names, strict=True):
            _draw(ax, part, scheme)
        row[0].set_ylabel(f"{TITLES[part['family']['task']]}\nloss", fontsize="small")
        row[-1].legend(
            title=part["family"]["axis"], fontsize="x-small", title_fontsize="x-small",
            loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False,
        )  # fmt: skip
    for ax, scheme in zip(axes[0], names, strict=True):
        ax.set_title(f"{parts[0]['optimizer']}, {scheme}", fontsize="medium")
    for ax in axes[-1]:
        ax.set_xlabel("learning rate")
    return figure


def _draw(ax: Axes, part: Mapping[str, Any], scheme: str) -> None:
    """The curves of a scheme, their minima, and the rate that is carried over."""
    sizes = part["family"]["sizes"]
    floor = min(_best(part, name, size) for name in part["schemes"] for size in sizes)
    worst = max(_best(part, name, size) for name in part["schemes"] for size in sizes)
    for i, size in enumerate(sizes):
        curve = _curve(part, scheme, size)
        rates, losses = zip(*_pairs(curve), strict=True)
        ax.plot(rates, losses, ".-", color=f"C{i}", label=str(size))
        lowest = curve["minimum"]
        ax.plot(2.0 ** lowest["rate"], lowest["loss"], "*", color=f"C{i}", ms=9)
    ax.axvline(2.0 ** part["best_rate"], color="0.7", lw=0.8, zorder=0)
    ax.set_xscale("log", base=2)
    if worst > 2 * floor:
        ax.set_yscale("log")
    ax.set_ylim(floor * (floor / worst) ** 0.2, worst * (worst / floor) ** 0.8)


def _pairs(curve: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Learning rates that were trained with every seed and did not diverge, with their losses."""
    both = list(zip(curve["rates"], curve["losses"], strict=True))
    most = max(len(losses) for _, losses in both)
    return [(2.0**x, _mean(ys)) for x, ys in both if len(ys) == most and None not in ys]

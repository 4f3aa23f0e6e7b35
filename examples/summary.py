"""The tour's one-page summary: a self-contained HTML file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from tour_measure import LOSS

from lazyrich.vocabulary import LOSSES

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Is it lazy or rich?</title>
<style>
body {{ font: 16px/1.55 system-ui, sans-serif; color: #1d2529; background: #f6f8f8;
       max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: break-word; }}
h2 {{ font-size: 1.2rem; margin: 2.6rem 0 .4rem; }}
p {{ max-width: 46rem; }}
img {{ max-width: 100%; height: auto; display: block; }}
img.small {{ max-width: min(100%, 30rem); }}
.table {{ overflow-x: auto; background: #fff; border: 1px solid #dfe4e7; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .45rem .8rem; text-align: left; border-bottom: 1px solid #dfe4e7; }}
footer {{ color: #59666d; font-size: .875rem; margin-top: 3rem; }}
</style>
</head>
<body>
{body}
<footer>{footer}</footer>
</body>
</html>
"""
FIRST = """<h1>Is it lazy or rich?</h1>
<h2>Act one: one data set, two networks, three roads</h2>
<p>Body mass index against disease progression in 442 patients, learned by a two-layer linear
network of width {width} in two parametrisations. Each was solved in closed form (gradient flow),
by the exact recursion (gradient descent), and trained in PyTorch from the same weights.</p>"""
SECOND = """<h2>Act two: a ReLU network on digits, dialled lazy and rich</h2>
<p>The same network, from the same weights, learned 1,442 digits twice. Before training,
<code>lazyrich.dial</code> set its output scale and learning rate for a richness ρ; a probe watched
the training and gave its verdict. The reports: <a href="lazy.html">lazy</a>,
<a href="rich.html">rich</a>.</p>"""

SECTIONS = {
    "comparison": (
        "Three roads to one quantity",
        "The kernel network moves its output while alignment and kernel hardly change; the "
        "feature-learning network waits on a plateau, aligns its layers, then grows its kernel.",
    ),
    "deviation": (
        "The closed form is the limit of small steps",
        "Its distance from the trained network shrinks in proportion to the step size.",
    ),
    "mechanisms": (
        "Which mechanism acts, and when",
        "The logarithm of the output is the sum of an alignment and a rescaling part, exactly. "
        "Bars mark the time in which a mechanism does the middle 80 % of its work. In the kernel "
        "phase |ζ| changes by a factor but stays small: no mechanism acts.",
    ),
    "diagram": (
        "Where the two networks are in the phase diagram",
        "The order parameter F is the distance to travel in units of what the kernel has at the "
        "start; from zero output F = 1 and F = 10 change the kernel by 12 % and fivefold, which "
        "are the boundaries. Both pictures are for this width and these data.",
    ),
}


def write_summary(folder: Path, numbers: dict[str, Any]) -> Path:
    """Write `summary.html` beside the pictures that it embeds and the reports that it links."""
    versions = ", ".join(f"{name} {version}" for name, version in numbers["versions"].items())
    body = [
        FIRST.format(width=f"{numbers['width']:,}"),
        _table(SOLVED, numbers["cases"]),
        *(_section(folder, name) for name in SECTIONS),
        SECOND,
        _table(MEASURED, numbers["measured"]),
        _image(folder, "measured", "Change of the kernel and loss of both networks"),
    ]
    footer = f"{numbers['command']} · seed {numbers['seed']} · {versions} · {numbers['seconds']} s"
    path = folder / "summary.html"
    path.write_text(PAGE.format(body="\n".join(body), footer=escape(footer)), encoding="utf-8")
    return path


def _section(folder: Path, name: str) -> str:
    title, text = map(escape, SECTIONS[name])
    css = "small" if name == "deviation" else ""
    return f"<h2>{title}</h2><p>{text}</p>{_image(folder, name, title, css)}"


def _image(folder: Path, name: str, alt: str, css: str = "") -> str:
    content = b64encode((folder / f"{name}.png").read_bytes()).decode()
    return f'<img class="{css}" alt="{escape(alt)}" src="data:image/png;base64,{content}">'


SOLVED: dict[str, Callable[[dict[str, Any]], str]] = {
    "order parameter F": lambda case: f"{case['order_parameter']:.3g}",
    "change of the kernel, predicted": lambda case: f"{case['predicted_ntk_change']:.3g}",
    "change of the kernel, PyTorch": lambda case: f"{case['final_ntk_change']:.3g}",
    "final alignment ζ, PyTorch": lambda case: f"{case['final_alignment']:.3g}",
    "mechanisms": lambda case: ", ".join(m["name"] for m in case["mechanisms"]) or "none",
    "recursion against PyTorch, relative": lambda case: f"{case['recursion_against_pytorch']:.1e}",
    "closed form against PyTorch ∝ step to the power": lambda case: (
        f"{case['slope']:.3f} ± {case['slope_stderr']:.3f}"
    ),
}
MEASURED: dict[str, Callable[[dict[str, Any]], str]] = {
    "richness ρ, asked for": lambda run: f"{run['target_richness']:g}",
    "richness ρ, measured before training": lambda run: f"{run['richness']:.3g}",
    "change of the kernel, forecast": lambda run: f"{run['predicted_ntk_change']:.3g}",
    "change of the kernel, measured (95 %)": lambda run: "{:.3g} ({:.3g} to {:.3g})".format(
        run["ntk_change"], *run["ntk_change_interval"]
    ),
    "regime": lambda run: run["regime"],
    "mechanisms, layer by layer": lambda run: "; ".join(
        ", ".join(names) or "none" for names in run["mechanisms"].values()
    ),
    f"loss ({LOSSES[LOSS].meaning}), first → last": lambda run: "{:.3g} → {:.3g}".format(
        *run["loss"]
    ),
    "training digits named right": lambda run: f"{run['train_accuracy']:.1%}",
    "test digits named right": lambda run: f"{run['test_accuracy']:.1%}",
}


def _table(
    rows: dict[str, Callable[[dict[str, Any]], str]], columns: dict[str, dict[str, Any]]
) -> str:
    head = "".join(f"<th scope='col'>{escape(title)}</th>" for title in ("", *columns))
    body = "".join(
        f"<tr><td>{escape(title)}</td>"
        + "".join(f"<td>{escape(show(column))}</td>" for column in columns.values())
        + "</tr>"
        for title, show in rows.items()
    )
    scroll = '<div class="table" tabindex="0" role="region">'  # so that keys can scroll it
    return f"{scroll}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"

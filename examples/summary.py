"""The tour's one-page summary: a self-contained HTML file."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>lazyrich tour</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
        padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
img {{ max-width: 100%; height: auto; }}
img.small {{ max-width: min(100%, 30rem); }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid #ddd; }}
footer {{ color: #555; margin-top: 2rem; font-size: .85rem; }}
</style>
<h1>Is it lazy or rich? One data set, two networks, three roads</h1>
<p>Body mass index against disease progression in 442 patients, learned by a two-layer linear
network of width {width} in two parametrisations. Each was solved in closed form (gradient flow),
by the exact recursion (gradient descent), and trained in PyTorch from the same weights.</p>
<div class="table">{table}</div>
{sections}
<footer>{command} · seed {seed} · {versions} · {seconds} s</footer>
</html>
"""

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
    """Write `summary.html` beside the pictures that it embeds."""
    sections = "\n".join(_section(folder, name) for name in SECTIONS)
    page = PAGE.format(
        width=f"{numbers['width']:,}",
        table=_table(numbers["cases"]),
        sections=sections,
        command=numbers["command"],
        seed=numbers["seed"],
        versions=", ".join(f"{name} {version}" for name, version in numbers["versions"].items()),
        seconds=numbers["seconds"],
    )
    target = folder / "summary.html"
    target.write_text(page, encoding="utf-8")
    return target


def _section(folder: Path, name: str) -> str:
    title, text = map(escape, SECTIONS[name])
    picture = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    size = "small" if name == "deviation" else "wide"
    image = f'<img class="{size}" alt="{title}" src="data:image/png;base64,{picture}">'
    return f"<h2>{title}</h2><p>{text}</p>{image}"


def _table(cases: dict[str, Any]) -> str:
    rows = {
        "order parameter F": lambda case: f"{case['order_parameter']:.3g}",
        "change of the kernel, predicted": lambda case: f"{case['predicted_ntk_change']:.3g}",
        "change of the kernel, PyTorch": lambda case: f"{case['final_ntk_change']:.3g}",
        "final alignment ζ, PyTorch": lambda case: f"{case['final_alignment']:.3g}",
        "mechanisms": lambda case: ", ".join(m["name"] for m in case["mechanisms"]) or "none",
        "recursion against PyTorch, relative": lambda case: (
            f"{case['recursion_against_pytorch']:.1e}"
        ),
        "closed form against PyTorch ∝ step to the power": lambda case: (
            f"{case['slope']:.3f} ± {case['slope_stderr']:.3f}"
        ),
    }
    head = "".join(f"<th>{escape(name)}</th>" for name in cases)
    body = "".join(
        f"<tr><td>{escape(title)}</td>"
        + "".join(f"<td>{escape(show(case))}</td>" for case in cases.values())
        + "</tr>"
        for title, show in rows.items()
    )
    return f"<table><tr><th></th>{head}</tr>{body}</table>"

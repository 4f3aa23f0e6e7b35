"""How the run was measured, and what the words of the report mean."""

from __future__ import annotations

import json
import platform
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from torch import Tensor

import lazyrich
from lazyrich.capture.isolation import unwrap
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.report.page import table
from lazyrich.report.words import items

if TYPE_CHECKING:
    from lazyrich.probe.probe import Probe

WORDS = """<details><summary>What the words mean</summary><dl class="words">
<dt>lazy</dt><dd>The network acts like its linearisation around the start: its neural tangent kernel
stands still and the features stay those of the random start.</dd>
<dt>rich</dt><dd>The kernel changes by a share of its own size: features are learned.</dd>
<dt>frozen</dt><dd>The outputs hardly moved towards the targets.</dd>
<dt>unstable</dt><dd>The loss grew or is no longer a number.</dd>
<dt>cannot tell</dt><dd>The uncertainty of the measurement holds the threshold.</dd>
<dt>NTK, neural tangent kernel</dt><dd>How much a step that fits one sample moves the output of
another one. Its change is ‖Θ − Θ₀‖/‖Θ₀‖, its rotation 1 − cos(Θ₀, Θ).</dd>
<dt>richness ρ</dt><dd>The relative displacement of the tangent features that fitting the data will
ask for, known before the first step.</dd>
<dt>alignment, disalignment, rescaling</dt><dd>The three mechanisms of feature learning: a layer's
weight turns towards its inputs (A = ‖z‖/(‖W‖‖h‖) grows), or away from them, or changes its
size ‖W‖.</dd>
<dt>NFA, C-NFA</dt><dd>Correlation of a layer's WᵀW, or of (W − W₀)ᵀ(W − W₀), with the average
gradient outer product.</dd>
</dl></details>"""


def setting(probe: Probe) -> str:
    """Everything that one needs to measure the same again, and what was left out."""
    history = probe.history
    steps = history.step.values
    weights = sum(p.numel() for p in probe.model.parameters() if p.requires_grad)
    how = json.loads(history.attrs["setting"])
    rows = {
        "network": f"{network_name(probe)}, {weights:,} trainable parameters",
        "probe batch": f"inputs {_shapes(probe.batch[0])}, targets {_shapes(probe.batch[1])}",
        "measured on": f"{how['samples']} samples, {how['directions']} as directions",
        "mode": how["mode"],
        "loss": how["loss"],
        "seed": str(how["seed"]),
        "measured": f"{steps.size} times, steps {steps[0]} to {steps[-1]}",
        "cost of watching": f"{100 * probe.overhead:.3g} % of the time of training",
        "thresholds": ", ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in vars(probe.thresholds).items()
        ),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    lines = [[escape(title), escape(value)] for title, value in rows.items()]
    skipped = history.attrs["skipped"].splitlines()
    return f"""<h2>The setting</h2>
{table(("", ""), lines)}
<h3>Modules that are not among the layers</h3>
{items(skipped) or "<p>None was left out.</p>"}"""


def network_name(probe: Probe) -> str:
    """The class of the network, without wrappers."""
    model = unwrap(probe.model)
    if isinstance(model, CentredOutput):
        return f"{type(model.network).__name__} (centred, scale {model.scale.item():.3g})"
    return type(model).__name__


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"lazyrich": lazyrich.__version__, "Python": platform.python_version()}
    for name in ("torch", "numpy", "xarray"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _shapes(value: Any) -> str:  # noqa: ANN401 - whatever a model takes
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shapes(part)}" for name, part in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_shapes, value))
    return type(value).__name__

"""Steps of self-supervised learning: of a linear embedding, and of a tanh network on digits."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.integrate import solve_ivp

from lazyrich import plot
from lazyrich.theory.barlow_twins import barlow_flow, barlow_start, barlow_times

RECORD = Path(__file__).parents[1] / "docs" / "records" / "related-stepwise_ssl.json"
GAMMA, OUTPUTS, START = (2.0, 1.0, 0.5, 0.25, -0.6), 3, 1e-4


def eigenvalues(points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, eigenvalues of C along the flow of all weights, and those of the modes."""
    W, correlation = np.random.default_rng(0).normal(size=(OUTPUTS, 5)) * START, np.diag(GAMMA)
    modes = barlow_start(W, correlation)
    gamma, s = modes.view_eigenvalue, modes.embedding_weight
    times = np.linspace(0, 1.2 * barlow_times(gamma, s).values.max(), points)

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        pulled = flat.reshape(W.shape) @ correlation
        off = pulled @ flat.reshape(W.shape).T - np.eye(OUTPUTS)
        return -4 * (off @ pulled).ravel()

    path = solve_ivp(velocity, (0, times[-1]), W.ravel(), "DOP853", times, rtol=1e-9, atol=1e-14)
    now = path.y.T.reshape(-1, *W.shape)
    seen = np.linalg.eigvalsh(now @ correlation @ now.transpose(0, 2, 1))[:, ::-1]
    found = barlow_flow(gamma, s, times).embedding_eigenvalue.transpose("time", "mode")
    return times, seen, np.sort(found.values)[:, ::-1]


def curves(ax: Axes, times: Any, seen: Any, foretold: Any) -> None:  # noqa: ANN401
    """One colour for each eigenvalue: a line, and its prediction dotted."""
    for values, style, width in ((seen, "-", 2.0), (foretold, "k:", 1.2)):
        ax.set_prop_cycle(None)
        lines = ax.plot(times, values, style, linewidth=width)
        lines[0].set_label("theory" if style == "k:" else "found")
    ax.set(ylabel="eigenvalue of C")
    plot.legend(ax)


def draw(out: Path, points: int = 300) -> Path:
    """Draw both."""
    first = json.loads(RECORD.read_text("utf-8"))["runs"][0]
    width = max((key.split("_")[1] for key in first), key=int)
    wide = {key.removeprefix(f"width_{width}_"): x for key, x in first.items()}
    with plot.style():
        made = plot.figure(1, 2, width=4.6, height=3.4)
        curves(made.axes[0], *eigenvalues(points))
        kinds = (np.transpose(wide[f"curves_{kind}"]) for kind in ("seen", "foretold"))
        curves(made.axes[1], wide["curve_at"], *kinds)
        made.axes[0].set(xlabel="time", title="a linear embedding, any small start")
        made.axes[1].set(xlabel="step", title=f"{width} tanh neurons on digits")
        return plot.save(made, out)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    print(f"wrote {draw(parser.parse_args().out / 'barlow-twins.png')}")


if __name__ == "__main__":
    main()

"""What a notebook shows in a fresh process: pictures, without pyplot and its backends."""

import json
import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from lazyrich import plot

FRESH = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell('''
import numpy as np
import lazyrich as lr
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, flow
grid = np.geomspace(1e-2, 1, 5)
diagram = lr.parameter_diagram(("output_scale", grid), ("init_std", grid), width=100)
path = flow(LineState(uu=0.1, uw=0.0, ww=0.1), LinearNetwork(output_scale=1.0, lr_u=1, lr_w=1),
            LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0), np.linspace(0, 5, 9))
''')
shown = {}
for cell in json.loads(sys.argv[1]):
    found, _ = shell.display_formatter.format(shell.ev(cell))
    shown[cell] = [kind for kind, content in found.items() if content]
print(json.dumps([shown, "matplotlib.pyplot" in sys.modules]))
"""
PICTURES = [
    "lr.plot.phase_diagram(diagram)",
    "lr.plot.phase_diagram(diagram).figure",
    'lr.plot.trajectory(path, "loss")',
    "lr.plot.mechanism_timeline(lr.mechanisms(path)).figure",
    "lr.plot.figure(1, 2)",
]


def test_a_fresh_notebook_shows_every_figure():
    pytest.importorskip("IPython", reason="notebooks need the extra 'dev'")
    command = [sys.executable, "-c", FRESH, json.dumps([*PICTURES, "diagram", "path"])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    shown, pyplot = json.loads(run.stdout.splitlines()[-1])
    for cell in PICTURES:
        assert "image/png" in shown[cell], cell
    assert "text/html" in shown["diagram"]
    assert "text/html" in shown["path"]
    assert not pyplot


def test_a_panel_shows_its_figure_as_it_is_saved(tmp_path):
    figure = plot.figure(1, 2)
    figure.axes[0].plot([0, 1], [0, 1], label="a line")
    plot.legend(figure.axes[0])
    shown = figure.axes[1]._repr_png_()
    assert shown[:4] == b"\x89PNG"
    figure.savefig(tmp_path / "a.png", dpi=figure.dpi)
    assert (tmp_path / "a.png").read_bytes() == shown


def test_panels_of_others_are_left_to_them():
    ax = Figure().subplots()
    assert not hasattr(ax, "_repr_png_")


def test_figures_look_alike_also_outside_the_style():
    plain = plot.figure()
    with plot.style():
        styled = plot.figure()
    assert plain.dpi == styled.dpi
    assert plain.axes[0].title.get_fontsize() == styled.axes[0].title.get_fontsize()
    assert not plain.axes[0].spines["top"].get_visible()

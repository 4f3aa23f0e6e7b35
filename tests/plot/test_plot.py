"""Every figure on given Axes, without pyplot, without warnings; files whole or not at all."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from lazyrich import InputError, exponent_diagram, mechanisms, parameter_diagram, plot
from lazyrich.plot.style import check_picture
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, descent, flow

NET = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
STATE = LineState(uu=0.1, uw=-0.02, ww=0.1)
SCALES = np.geomspace(1e-3, 10, 16)
GRID = np.linspace(-2, 1, 13)


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


@pytest.fixture(scope="module")
def diagram():
    return parameter_diagram(("output_scale", SCALES), ("init_std", SCALES), width=100)


def drawn(ax):
    ax.figure.canvas.draw()
    return ax


def test_trajectory_draws_line_band_and_points(ax):
    path = flow(STATE, NET, DATA, np.linspace(0, 10, 60))
    draws = LineState.sample(20, init_std_u=0.2, init_std_w=0.2, draws=9, seed=0)
    many = flow(draws, NET, DATA, np.linspace(0, 10, 60))
    got = plot.trajectory({"one": path, "many": many}, "ntk_trace", points={"one": path}, ax=ax)
    assert drawn(got) is ax
    assert len(ax.lines) == 3
    assert len(ax.collections) == 1
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), path.ntk_trace)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), many.ntk_trace.median("draw"))
    assert ax.get_xlabel() == "time"
    assert "Θ" in ax.get_ylabel()
    assert ax.get_legend()


@pytest.mark.parametrize(
    "quantity", ["end_to_end_map", "loss", "alignment", "ntk_trace", "uu", "nfa"]
)
def test_trajectory_of_diverged_descent_draws_without_warnings(ax, quantity):
    draws = LineState.sample(9, init_std_u=1, init_std_w=1, draws=5, seed=0)
    hot = LinearNetwork(output_scale=1.0, lr_u=2.0, lr_w=2.0)
    path = descent(draws, hot, DATA, steps=40)
    assert (path.status != "ok").any()
    drawn(plot.trajectory({"": path}, quantity, ax=ax))
    assert ax.get_xlabel() == "step"
    assert ax.get_legend() is None


def test_mechanism_timeline_names_what_acts(ax):
    found = mechanisms(flow(STATE, NET, DATA, np.linspace(0, 20, 200)))
    assert drawn(plot.mechanism_timeline(found, ax=ax)) is ax
    title = ax.get_title()
    assert "alignment" in title
    assert "rescaling" in title
    assert {t.get_text() for t in ax.get_legend().get_texts()} >= {"output  Δ ln|f|"}
    zero = mechanisms(flow(LineState(uu=0, uw=0, ww=0), NET, DATA, [0, 1]))
    assert drawn(plot.mechanism_timeline(zero)).get_title() == "no mechanism acts"


@pytest.mark.parametrize(
    "show", ["region", "acting_mechanisms", "order_parameter", "learning_time"]
)
def test_phase_diagram_on_log_axes(ax, diagram, show):
    assert drawn(plot.phase_diagram(diagram, show=show, ax=ax)) is ax
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert len(ax.lines) == len(diagram.boundaries) == 2
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), diagram.boundaries[0].x)
    names = [text.get_text() for text in ax.texts]
    assert {"ΔΘ/Θ = 0.118", "ΔΘ/Θ = 4.1"} <= set(names)
    if show == "region":  # the band between the lines has no room for its name: a legend
        names += [text.get_text() for text in ax.get_legend().get_texts()]
        assert any("kernel" in name for name in names)
        assert any("feature learning" in name for name in names)
    if show == "order_parameter":
        assert len(ax.figure.axes) == 2  # with a colour bar


@pytest.mark.parametrize("show", ["order_parameter", "learning_time", "time_constant"])
def test_a_heat_map_leaves_frozen_networks_blank(ax, show):
    scales = np.linspace(0, 1, 12)
    made = parameter_diagram(("output_scale", scales), ("init_std", scales), width=100)
    (mesh,) = drawn(plot.phase_diagram(made, show=show, ax=ax)).collections
    blank = np.ma.getmaskarray(mesh.get_array())
    np.testing.assert_array_equal(blank, made.values.region == 0)
    assert type(mesh.norm).__name__ == "LogNorm"


def test_frozen_networks_are_an_area(ax):
    scales = np.linspace(0, 1, 12)
    made = parameter_diagram(("lr", scales), ("init_std", scales), width=100)
    drawn(plot.phase_diagram(made, ax=ax))
    names = {text.get_text().partition("\n")[0] for text in ax.get_legend().get_texts()}
    assert "frozen" in names  # where a layer or its learning rate is zero: on two edges


def test_labels_lie_inside(ax):
    scales = np.geomspace(1e-2, 1, 24)
    diagram = parameter_diagram(("output_scale", scales), ("init_std", scales), width=100)
    drawn(plot.phase_diagram(diagram, ax=ax))
    assert ax.get_legend() is None
    for text in ax.texts:
        x, y = text.get_transform().transform(text.get_position())
        if text.get_text().startswith("ΔΘ/Θ"):
            continue
        assert ax.bbox.contains(x, y)
        code = diagram.values.region.sel(
            output_scale=text.get_position()[0], init_std=text.get_position()[1]
        )
        name = diagram.values.region.attrs["flag_meanings"].split()[int(code)]
        assert text.get_text().split()[0] == name.split("_")[0]


@pytest.mark.parametrize("tuned", [True, False])
def test_exponent_diagram_on_linear_axes(ax, tuned):
    made = exponent_diagram(
        ("output_scale_exponent", GRID), ("init_var_exponent", GRID), tune_rates=tuned
    )
    drawn(plot.phase_diagram(made, ax=ax))
    assert ax.get_xscale() == ax.get_yscale() == "linear"
    assert ax.get_xlabel() == "exponent a of the output scale γ"
    if not tuned:  # five regions: a legend
        assert len(ax.get_legend().get_texts()) == len(np.unique(made.values.region)) == 5
    drawn(plot.phase_diagram(made, show="signal_excess"))


def test_infinite_values_are_drawn(ax):
    made = parameter_diagram(
        ("output_scale", np.linspace(0, 1, 8)), ("init_alignment", np.linspace(-1, 1, 9)), width=2
    )
    assert np.isinf(made.values.learning_time).any()
    drawn(plot.phase_diagram(made, show="learning_time", ax=ax))


def test_nothing_of_pyplot_is_touched():
    code = (
        "import sys, numpy as np; from lazyrich import plot, exponent_diagram;"
        "g = np.linspace(-2, 1, 5);"
        "made = exponent_diagram(('lr_exponent', g), ('init_var_exponent', g));"
        "plot.phase_diagram(made);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_style_ends_with_its_context():
    before = dict(mpl.rcParams)
    with plot.style():
        assert mpl.rcParams["axes.spines.top"] is False
        assert plot.figure(2, 3).axes[5] is not None
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_save_writes_the_file_alone(tmp_path, suffix):
    target = tmp_path / f"a.{suffix}"
    assert plot.save(plot.figure(), target) == target
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.stat().st_size > 1000


@pytest.mark.parametrize("exists", [True, False])
def test_failed_save_leaves_what_was(tmp_path, monkeypatch, exists):
    target = tmp_path / "a.png"
    if exists:
        target.write_bytes(b"old")

    def fail(self, name, **kwargs):
        with open(name, "wb") as file:
            file.write(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        plot.save(plot.figure(), target)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({"a.png": b"old"} if exists else {})


def test_targets_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"the folder '.*missing' does not exist"):
        check_picture(tmp_path / "missing" / "a.png")
    with pytest.raises(InputError, match=r"must end in .*\.png.*, got 'a.xyz'"):
        plot.save(plot.figure(), tmp_path / "a.xyz")
    with pytest.raises(InputError, match=r"must end in .*, got 'noext'"):
        check_picture(tmp_path / "noext")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(InputError, match=r"d\.png' is a folder. Give the name of a file in it"):
        check_picture(tmp_path / "d.png")


def test_one_solution_needs_no_label(ax):
    path = flow(STATE, NET, DATA, np.linspace(0, 10, 60))
    drawn(plot.trajectory(path, "ntk_trace", ax=ax))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), path.ntk_trace)
    assert ax.get_legend() is None


def test_infinite_values_of_a_run_are_masked(ax):
    hot = LinearNetwork(output_scale=1.0, lr_u=3.0, lr_w=3.0)
    path = descent(LineState(uu=1.0, uw=0.1, ww=1.0), hot, DATA, steps=30)
    assert np.isinf(path.ntk_trace).any()
    drawn(plot.trajectory(path, "ntk_trace", ax=ax))
    assert not np.isinf(ax.lines[0].get_ydata()).any()


def test_wrong_quantities_are_refused(ax, diagram):
    path = flow(STATE, NET, DATA, [0.0, 1.0])
    with pytest.raises(InputError, match="no quantity 'foo'; choose from end_to_end_map, loss"):
        plot.trajectory(path, "foo", ax=ax)
    with pytest.raises(InputError, match="no quantity 'status'; choose from"):
        plot.trajectory(path, "status", ax=ax)
    with pytest.raises(InputError, match="no quantity 'foo'; choose from order_parameter"):
        plot.phase_diagram(diagram, show="foo", ax=ax)
    many = flow(LineState(uu=[1.0, 2.0], uw=0.0, ww=1.0), NET, DATA, [0.0, 1.0])
    with pytest.raises(
        InputError, match="'ntk_trace' must have the dim `time` or `step` alone, got"
    ):
        plot.trajectory(many, "ntk_trace", ax=ax)
    with pytest.raises(InputError, match="'ntk_trace' must have the dim `time` or `step` alone"):
        plot.trajectory(flow(STATE, NET, DATA, 1.0), "ntk_trace", ax=ax)


@pytest.mark.parametrize("show", ["region", "acting_mechanisms"])
def test_every_area_is_named(ax, show):
    scales = np.geomspace(0.01, 10, 24)
    made = parameter_diagram(
        ("output_scale", scales), ("init_alignment", np.linspace(-1, 1, 25)), width=100
    )
    drawn(plot.phase_diagram(made, show=show, ax=ax))
    area = made.values[show]
    legend = ax.get_legend()
    named = [text.get_text() for text in (legend.get_texts() if legend else ax.texts)]
    named = [name for name in named if not name.startswith("ΔΘ")]
    assert len(named) == len(np.unique(area))

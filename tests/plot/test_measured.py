"""Measured diagrams: what is drawn is what was measured, at its place."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lazyrich import InputError, plot
from lazyrich.numerics.boundary import Boundary
from lazyrich.plot.measured import PHASE_COLOURS, SIDE, WIDEST

X, Y = np.geomspace(0.01, 100, 5), np.linspace(-1.0, 1.0, 3)


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def diagram(**more):
    rng = np.random.default_rng(1)
    change = xr.DataArray(
        10 ** rng.uniform(-3, 1, (3, 5)),
        dims=("b", "a"),
        coords={"b": Y, "a": ("a", X, {"long_name": "output scale"})},
        attrs={"symbol": "ΔΘ", "long_name": "change of the kernel"},
    )
    return xr.Dataset({"ntk_change": change, **more})


def painted(ax):
    """The colours' values over the picture."""
    return ax.collections[0].get_array()


def test_every_place_has_the_value_of_the_nearest_network(ax):
    data = diagram()
    got = plot.measured_map(data, ax=ax)
    ax.figure.canvas.draw()
    assert got is ax
    shade = painted(ax)
    assert shade.shape == (SIDE, SIDE)
    xs = np.geomspace(*ax.get_xlim(), SIDE)
    ys = np.linspace(*ax.get_ylim(), SIDE)
    for i, j in ((0, 0), (120, 100), (239, 239), (60, 200)):
        column = np.argmin(abs(np.log(xs[j] / X)) / np.log(1e4))
        row = np.argmin(abs(ys[i] - Y))
        assert shade[i, j] == data.ntk_change.values[row, column]


def test_scales_labels_and_points(ax):
    plot.measured_map(diagram(), ax=ax)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("output scale", "b")
    assert ax.get_title(loc="left") or ax.get_title() == "change of the kernel"
    low, high = ax.get_xlim()
    assert low < X[0] < X[-1] < high
    dots, crosses = ax.lines[:2]
    assert set(zip(*dots.get_data(), strict=True)) == {(x, y) for x in X for y in Y}
    assert crosses.get_xdata().size == 0


def test_points_off_the_grid_alone_are_drawn(ax):
    """A refined study: places that were not tried have no dot, those without a value a cross."""
    data = diagram()
    tried = np.zeros((3, 5), dtype=bool)
    tried[[0, 2, 1, 2], [0, 0, 4, 3]] = True
    lost = np.zeros((3, 5), dtype=bool)
    lost[2, 3] = True
    data["diverged"] = data.ntk_change.copy(data=np.where(tried, lost.astype(float), np.nan))
    data["ntk_change"] = data.ntk_change.where(tried & ~lost)
    plot.measured_map(data, ax=ax)
    dots, crosses = ax.lines[:2]
    assert set(zip(*dots.get_data(), strict=True)) == {(X[0], -1), (X[0], 1), (X[4], 0)}
    assert list(zip(*crosses.get_data(), strict=True)) == [(X[3], 1.0)]


def test_phases_have_their_colours_and_names(ax):
    words = [["kernel", "kernel", "feature"], ["kernel", "", "cannot tell"]]
    data = xr.Dataset({"phase": (("b", "a"), words)}).assign_coords(a=[1, 2, 3], b=[0, 1])
    plot.measured_map(data, "phase", ax=ax)
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["kernel", "feature", "cannot tell"]
    mesh = ax.collections[0]
    shown = mesh.cmap(mesh.norm(painted(ax)[0, 0]))
    assert shown == pytest.approx(mpl_colour("kernel"))


def mpl_colour(name):
    from matplotlib.colors import to_rgba

    return to_rgba(PHASE_COLOURS[name])


def test_theory_and_level_curves_lie_on_top_with_one_entry_each(ax):
    curves = [Boundary("", np.array([0.1, 1.0]), np.array([-0.5, 0.5])) for _ in range(2)]
    plot.measured_map(diagram(), theory={"theory": curves}, curves={"level": curves[:1]}, ax=ax)
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["theory", "level"]
    assert [line.get_linestyle() for line in ax.lines[2:]] == ["-", "-", "--"]
    np.testing.assert_array_equal(ax.lines[2].get_xdata(), curves[0].x)


def test_colours_are_logarithmic_over_a_wide_range_and_cut_where_it_is_too_wide(ax):
    data = diagram()
    plot.measured_map(data, ax=ax)
    assert isinstance(ax.collections[0].norm, LogNorm)
    data["ntk_change"][0, 0] = 1e-12
    plot.measured_map(data, ax=ax)
    norm = ax.collections[-1].norm
    assert norm.vmax / norm.vmin == pytest.approx(WIDEST)
    data["ntk_change"] = 1 + 0.1 * data.ntk_change / data.ntk_change.max()
    plot.measured_map(data, ax=ax)
    assert type(ax.collections[-1].norm) is Normalize


@pytest.mark.parametrize(
    ("data", "show", "message"),
    [
        (diagram(), "nfa", "`show` must be one of ntk_change, got 'nfa'"),
        (diagram().expand_dims(width=[1, 2]), "ntk_change", "must have two dimensions"),
        (diagram() * np.nan, "ntk_change", "must have a value somewhere"),
        (
            xr.Dataset({"phase": (("b", "a"), [["lazy"]])}),
            "phase",
            "'phase' must hold words among frozen, kernel, .*, got lazy",
        ),
    ],
)
def test_refusals(data, show, message):
    with pytest.raises(InputError, match=message):
        plot.measured_map(data, show)

"""What holds of every figure: legends cover nothing, ticks are round, curves can be told apart.

The oracle of a legend is the picture: without the legend its place holds the background alone.
"""

from itertools import pairwise, product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lazyrich import exponent_diagram, mechanisms, parameter_diagram, plot
from lazyrich.plot.diagram import SHARP, refined
from lazyrich.plot.legends import BESIDE
from lazyrich.plot.style import CYCLE, LOOKS
from lazyrich.plot.ticks import tidy
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, flow

T = np.linspace(0, 1, 200)


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def covered(figure, ax):
    """How many pixels behind a panel's legend are not background."""
    legend = ax.get_legend()
    pixels(figure)
    box = legend.get_window_extent()
    legend.set_visible(False)
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")  # the panels stay where they were
    picture = pixels(figure)
    figure.set_layout_engine(layout)
    legend.set_visible(True)
    height = picture.shape[0]
    part = picture[height - int(box.y1) : height - int(box.y0), int(box.x0) : int(box.x1)]
    assert part.size
    return int((part < 250).any(-1).sum())


def crowded(ax, kind):
    """Things in three corners, of a kind that matplotlib's "best" does not see."""
    if kind == "bands":
        ax.fill_between(T, 0.6 + 0.3 * T, 1.0, color="C0", alpha=0.3, label="band")
    elif kind == "bars":
        ax.errorbar([0.1, 0.5, 0.9], [0.8, 0.5, 0.7], [0.2, 0.1, 0.3], fmt="o", label="bars")
    elif kind == "lines across":
        ax.axhline(0.9, label="line")
        ax.axvline(0.9)
    elif kind == "words":
        ax.text(0.65, 0.9, "words that stand here")
        ax.plot(T, 0.2 + 0.1 * T, label="curve")
    else:
        ax.plot(T, T, label="one")
        ax.plot(T, 1 - T, label="other")
    ax.set(xlim=(0, 1), ylim=(0, 1))


KINDS = ["bands", "bars", "lines across", "words", "a cross"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", [True, False])
def test_a_legend_covers_nothing(tmp_path, kind, own):
    figure = plot.figure() if own else Figure(layout="constrained")
    ax = figure.axes[0] if own else figure.subplots()
    crowded(ax, kind)
    plot.legend(ax)
    if own:
        plot.save(figure, tmp_path / "a.png")
    assert covered(figure, ax) == 0
    box, panel = ax.get_legend().get_window_extent(), ax.bbox
    assert panel.x0 <= box.x0
    assert box.x1 <= panel.x1
    assert panel.y0 <= box.y0
    assert box.y1 <= panel.y1


def test_a_full_panel_has_its_legend_beside_it(tmp_path):
    figure = plot.figure(1, 2)
    for ax in figure.axes:
        ax.plot(T, T, label="a curve")
        ax.pcolormesh(np.random.default_rng(0).random((4, 4)))
        plot.legend(ax)
    plot.save(figure, tmp_path / "a.png")
    for ax in figure.axes:
        assert covered(figure, ax) == 0
        assert ax.get_legend().get_window_extent().x0 > ax.bbox.x1
    assert BESIDE[0] > 1


def test_a_legend_stays_where_it_is_told_to(tmp_path):
    figure = plot.figure()
    figure.axes[0].plot(T, T, label="a curve")
    plot.legend(figure.axes[0], loc="upper right")
    pixels(figure)
    before = figure.axes[0].get_legend().get_window_extent().bounds
    plot.save(figure, tmp_path / "a.png")
    np.testing.assert_allclose(figure.axes[0].get_legend().get_window_extent().bounds, before)


@pytest.mark.parametrize("start", [0.001, 0.1, 1.0])
def test_the_mechanisms_legend_touches_no_line(start, tmp_path):
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    path = flow(
        LineState(uu=start, uw=-0.2 * start, ww=start), network, data, np.linspace(0, 9, 99)
    )
    ax = plot.mechanism_timeline(mechanisms(path))
    plot.save(ax.figure, tmp_path / "a.png")
    assert covered(ax.figure, ax) == 0


RANGES = [
    *((0.0028, 0.021), (0.65, 0.9), (3.0, 4.0), (1e-7, 1e3), (0.0151, 0.19), (0.9, 1.1)),
    (25.3, 46.2),
]


@pytest.mark.parametrize(("ends", "scale"), [*product(RANGES, ["linear", "log"])])
def test_an_axis_has_two_ticks_at_least_all_of_them_round(ends, scale):
    ax = plot.figure().axes[0]
    ax.set(yscale=scale, ylim=ends)
    tidy(ax)
    pixels(ax.figure)
    ticks = [tick for tick in ax.get_yticks() if ends[0] <= tick <= ends[1]]
    assert len(ticks) >= 2
    step = np.diff(ticks).min()
    if scale == "linear":
        assert round(step / 10 ** np.floor(np.log10(step) + 1e-9)) in (1, 2, 5)
        assert f"{step:.0e}"[0] in "125"
    labels = [label.get_text() for label in ax.get_yticklabels() if label.get_text()]
    assert len(set(labels)) == len(labels)
    boxes = [label.get_window_extent() for label in ax.get_yticklabels() if label.get_text()]
    boxes = [box for box in boxes if ax.bbox.y0 <= box.y0 + box.height / 2 <= ax.bbox.y1]
    assert not any(one.overlaps(two) for one, two in pairwise(boxes))


def test_chosen_ticks_are_kept(tmp_path):
    ax = plot.figure().axes[0]
    ax.set(yscale="log", ylim=(0.5, 2))
    ax.set_yticks([0.7, 1.3], ["low", "high"])
    ax.set_xticks([0.25, 0.75])
    plot.save(ax.figure, tmp_path / "a.png")
    np.testing.assert_array_equal(ax.get_yticks(), [0.7, 1.3])
    np.testing.assert_array_equal(ax.get_xticks(), [0.25, 0.75])


def test_all_curves_look_different():
    assert len(set(CYCLE)) == len(CYCLE)
    assert len(set(LOOKS)) == len(LOOKS) == 21
    t = np.linspace(0, 5, 30)
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    paths = {
        f"start {k}": flow(LineState(uu=0.1 * k, uw=0, ww=0.1 * k), network, data, t)
        for k in range(1, 12)
    }
    ax = plot.trajectory(paths, "loss")
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(looks) == len(paths)


def test_a_curve_on_another_is_dashed_so_that_both_show():
    t = np.linspace(0, 5, 30)
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    one = flow(LineState(uu=0.1, uw=0, ww=0.1), network, data, t)
    other = flow(LineState(uu=0.3, uw=0, ww=0.3), network, data, t)
    ax = plot.trajectory({"one": one, "again": one, "other": other}, "loss")
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-"]


SCALES = np.geomspace(1e-3, 10, 9)


@pytest.mark.parametrize("show", ["region", "acting_mechanisms"])
def test_edges_of_areas_have_no_steps(show):
    """Every cell of the drawn map is that of a diagram computed on the fine axes at once."""
    made = parameter_diagram(("output_scale", SCALES), ("init_std", SCALES), width=100)
    xs, ys, codes = refined(made, show)
    assert min(codes.shape) >= SHARP
    rows, columns = np.arange(0, ys.size, 16), np.arange(0, xs.size, 16)
    brute = parameter_diagram(
        ("output_scale", xs[columns]), ("init_std", ys[rows]), width=100
    ).values[show]
    np.testing.assert_array_equal(codes[np.ix_(rows, columns)], brute)
    assert not np.array_equal(codes[np.ix_(rows, columns)], made.values[show])


def test_the_drawn_edge_lies_on_the_exact_line():
    made = parameter_diagram(("output_scale", SCALES), ("init_std", SCALES), width=100)
    xs, ys, codes = refined(made, "region")
    for curve, code in zip(made.boundaries, (3, 4), strict=True):
        order = np.argsort(curve.x)
        line = np.exp(np.interp(np.log(xs), np.log(curve.x[order]), np.log(curve.y[order])))
        inside = (line > ys[0]) & (line < ys[-1]) & (xs >= curve.x.min()) & (xs <= curve.x.max())
        highest = np.array([ys[column >= code].max(initial=ys[0]) for column in codes.T])
        cell = ys[1] / ys[0]
        assert np.abs(np.log(highest / line))[inside].max() < 1.01 * np.log(cell)


def test_a_phase_on_a_line_is_said_to_be_one():
    grid = np.linspace(-2, 1, 13)
    made = exponent_diagram(("output_scale_exponent", grid), ("init_var_exponent", grid))
    ax = plot.phase_diagram(made)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [text for text in texts if "on a line" in text] == [
        "feature learning,\ncritical\n(on a line)"
    ]


def test_dots_show_on_dark_and_on_light(tmp_path):
    """Every network's dot has a black middle and a white edge, above the curves."""
    import xarray as xr

    values = xr.DataArray(
        [[1e-4, 1.0], [1.0, 1e4]], dims=("b", "a"), coords={"a": [1, 2], "b": [1, 2]}
    )
    ax = plot.measured_map(xr.Dataset({"ntk_change": values}))
    dots = ax.lines[0]
    assert dots.get_markeredgecolor() == "white"
    assert dots.get_zorder() > 2
    plot.save(ax.figure, tmp_path / "a.png")
    picture = pixels(ax.figure)
    for x, y in dots.get_xydata():
        column, row = ax.transData.transform((x, y)).round().astype(int)
        part = picture[
            picture.shape[0] - row - 4 : picture.shape[0] - row + 4, column - 4 : column + 4
        ]
        assert part.sum(-1).min() < 200
        assert part.sum(-1).max() > 600


def test_bars_of_mechanisms_lie_below_every_curve():
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    path = flow(LineState(uu=0.1, uw=-0.02, ww=0.1), network, data, np.linspace(0, 20, 200))
    found = mechanisms(path)
    ax = plot.mechanism_timeline(found)
    curves, bars = ax.lines[:4], ax.lines[4:]  # the fourth is zero
    assert len(bars) == int(found.mechanism_acts.sum())
    low = min(np.nanmin(np.asarray(line.get_ydata(), float)) for line in curves)
    highest = max(bar.get_ydata()[0] for bar in bars) + 0.02  # with half of its width
    assert ax.transData.transform((0, low))[1] > ax.transAxes.transform((0, highest))[1]

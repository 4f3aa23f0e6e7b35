"""Phase diagrams: boundaries are roots, lines are where theory puts them, names are checked."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import (
    PRESETS,
    InputError,
    exponent_diagram,
    mechanisms,
    order_parameters,
    parameter_diagram,
)
from lazyrich.numerics.boundary import boundaries
from lazyrich.phases.setting import Setting
from lazyrich.theory.two_layer_linear import flow, time_to_residual


def change_of(f):
    """The kernel's change from zero output."""
    return np.sqrt(1 + f**2 / 4) - 1


SCALES = np.geomspace(1e-3, 10, 24)
GRID = np.linspace(-2, 1, 31)
LEVELS = {"ΔΘ/Θ = 0.118": change_of(1), "ΔΘ/Θ = 4.1": change_of(10)}


def region_names(diagram):
    return diagram.values.region.attrs["flag_meanings"].split()


def order_at(x, y, xs, ys, **fixed):
    at = {x: xr.DataArray(xs, dims="p"), y: xr.DataArray(ys, dims="p")}
    setting = Setting.of(**fixed, **at)
    return order_parameters(setting.state, setting.network, setting.data)


@pytest.mark.parametrize(
    ("x", "y", "fixed"),
    [
        (("output_scale", SCALES), ("init_std", SCALES), {}),
        (("width", np.geomspace(1, 1e6, 20)), ("output_scale", SCALES), {"init_std": 0.3}),
        (("lr_u", SCALES), ("lr_w", SCALES), {"width": 1}),
        (("mean_ay", np.linspace(-3, 3, 25)), ("init_std_u", SCALES), {"mean_yy": 10, "width": 9}),
        (("init_alignment", np.linspace(-0.99, 1, 21)), ("init_std", SCALES), {"width": 4}),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else "",
)
def test_every_boundary_point_is_a_root(x, y, fixed):
    diagram = parameter_diagram(x, y, **fixed)
    assert diagram.boundaries
    for curve in diagram.boundaries:
        order = order_at(x[0], y[0], curve.x, curve.y, **fixed)
        assert np.abs(np.log(order.ntk_change / LEVELS[curve.name])).max() <= 1e-12


def test_boundary_is_the_analytic_curve():
    """`F = 4γf*/(γ² · 2dσ²)` for equal layers: `F = 1` is `γ = 2/(dσ²)`."""
    diagram = parameter_diagram(("output_scale", SCALES), ("init_std", SCALES), width=100)
    for curve, level in zip(diagram.boundaries, (1, 10), strict=True):
        np.testing.assert_allclose(curve.x, 2 / (level * 100 * curve.y**2), rtol=1e-12)
    for grid in (np.geomspace(0.01, 1, 5), np.geomspace(0.01, 1, 50)):
        levels = (change_of(3), change_of(4))
        made = parameter_diagram(
            ("output_scale", grid), ("init_std", grid), width=100, levels=levels
        )
        for one, level in zip(made.boundaries, (3, 4), strict=True):
            np.testing.assert_allclose(one.x * one.y**2, 2 / (100 * level), rtol=1e-12)


def test_regions_are_the_sides_of_the_levels():
    diagram = parameter_diagram(("output_scale", SCALES), ("init_std", SCALES), levels=(2, 5))
    f, names = diagram.values.ntk_change.values, np.array(region_names(diagram))
    expected = np.where(
        f < 2, "kernel", np.where(f < 5, "feature_critical", "feature_vanishing_init")
    )
    assert (names[diagram.values.region.values] == expected).all()
    assert diagram.values.region.dims == ("init_std", "output_scale")


def test_an_output_that_is_too_large_is_not_the_kernel_phase():
    """F = 0.2, but the kernel has to lose more than half of its size with the output."""
    diagram = parameter_diagram(
        ("output_scale", [9.0, 10.0]), ("init_alignment", [0.89, 0.9]), width=1
    )
    corner = diagram.values.isel(output_scale=-1, init_alignment=-1)
    assert corner.order_parameter.item() == pytest.approx(0.2)
    assert corner.ntk_change.item() == pytest.approx(1 - np.sqrt(0.2), rel=1e-12)
    assert region_names(diagram)[int(corner.region)] == "feature_critical"


@pytest.mark.parametrize("mean_ay", [-1, 1])
def test_saddles_count_as_their_neighbours(mean_ay):
    """Opposite layers end at zero, which changes the kernel by 1: no boundary runs round them."""
    ends = np.array([-1.0, -1 + 1e-9, 0, 1 - 1e-9, 1.0])
    diagram = parameter_diagram(
        ("init_alignment", ends), ("init_std", SCALES), width=4, mean_ay=mean_ay
    )
    region = diagram.values.region
    for edge, near in ((0, 1), (4, 3)):
        assert (region.isel(init_alignment=edge) == region.isel(init_alignment=near)).all()
    assert len(np.unique(region)) == 3
    for curve in diagram.boundaries:
        inside = abs(curve.x) < 1
        order = order_at(
            "init_alignment", "init_std", curve.x[inside], curve.y[inside], width=4, mean_ay=mean_ay
        )
        assert np.abs(np.log(order.ntk_change / LEVELS[curve.name])).max() <= 1e-6


@pytest.mark.parametrize("levels", [(0, 1), (2, 1), (1, 1)])
def test_bad_levels(levels):
    with pytest.raises(InputError, match=r"`levels` must be two increasing values > 0, got \("):
        parameter_diagram(("lr_u", [1, 2]), ("lr_w", [1, 2]), levels=levels)


def test_zero_and_infinite_order_parameters_are_ordinary_points():
    """No target, no output scale, no weights: F is 0 or infinite, beside proper roots."""
    diagram = parameter_diagram(
        ("mean_ay", np.linspace(-1, 1, 5)), ("init_std", np.linspace(0, 1, 5)), width=4
    )
    f = diagram.values.order_parameter
    assert (f.sel(mean_ay=0) == 0).all()
    assert (f.sel(init_std=0) == 0).all()
    assert [curve.name for curve in diagram.boundaries].count("ΔΘ/Θ = 4.1") == 2
    through_zero = parameter_diagram(
        ("output_scale", np.linspace(-1, 1, 5)), ("init_std", [0.1, 0.5, 1.0]), width=4
    )
    for curve in through_zero.boundaries:
        f = 2 * np.sqrt((1 + LEVELS[curve.name]) ** 2 - 1)
        np.testing.assert_allclose(abs(curve.x) * curve.y**2, 2 / (4 * f), rtol=1e-12)
    nothing = parameter_diagram(
        ("output_scale", [0.0, 1.0]), ("mean_aa", [0.0, 1.0]), mean_ay=0, width=5
    )
    assert (nothing.values.order_parameter == 0).all()
    assert not any(np.isnan(part).any() for part in nothing.values.values())


def test_mechanism_map_is_what_finely_sampled_flows_show():
    rng = np.random.default_rng(8)
    zetas = np.linspace(-0.95, 0.95, 9)
    diagram = parameter_diagram(
        ("output_scale", np.geomspace(0.02, 5, 9)),
        ("init_alignment", zetas),
        width=2,
        init_std_u=0.3,
        lr_w=2.5,
    )
    area = diagram.values.acting_mechanisms
    names = area.attrs["flag_meanings"].split()
    for _ in range(25):
        cell = area.isel({dim: int(rng.integers(9)) for dim in area.dims})
        at = {str(dim): float(cell[dim]) for dim in area.dims}
        setting = Setting.of(width=2, init_std_u=0.3, lr_w=2.5, **at)
        network = (setting.state, setting.network, setting.data)
        left = xr.DataArray(np.append(np.linspace(1, 1e-4, 4001), 1e-9), dims="time")
        path = flow(*network, time_to_residual(*network, left).rename("t"))
        found = mechanisms(path)
        near = abs(found.mechanism_change / 0.1 - 1).min() < 1e-3
        acting = (
            "+".join(str(m) for m in found.mechanism.values[found.mechanism_acts.values]) or "none"
        )
        assert near or names[int(cell)] == acting, at
    assert len(np.unique(area)) >= 4


@pytest.mark.parametrize(
    ("x", "y", "fixed", "line"),
    [
        ("output_scale_exponent", "init_var_exponent", {}, lambda x, y: x + y + 1),
        (
            "output_scale_exponent",
            "init_var_exponent",
            {"lr_exponent": "1/3"},
            lambda x, y: x + y + 1,
        ),
        ("output_scale_exponent", "init_var_u_exponent", {}, lambda x, y: x + 1 + np.maximum(y, 0)),
        (
            "init_var_u_exponent",
            "init_var_w_exponent",
            {"output_scale_exponent": -1},
            lambda x, y: np.maximum(x, y),
        ),
        (
            "lr_u_exponent",
            "init_var_u_exponent",
            {"output_scale_exponent": -1},
            lambda x, y: x / 2 - np.maximum(x, y),
        ),
        (
            "lr_exponent",
            "init_var_u_exponent",
            {"output_scale_exponent": -1},
            lambda x, y: y,
        ),  # edge of a critical area
        ("lr_exponent", "init_var_w_exponent", {"output_scale_exponent": -1}, lambda x, y: y),
        (
            "lr_u_exponent",
            "lr_w_exponent",
            {"output_scale_exponent": -1},
            lambda x, y: x - y,
        ),  # a ridge
    ],
)
@pytest.mark.parametrize("grid", [GRID, np.linspace(-2.03, 1.17, 14)], ids=["on", "off"])
def test_lines_between_exponents(x, y, fixed, line, grid):
    diagram = exponent_diagram((x, grid), (y, grid), **fixed)
    curves = [c for c in diagram.boundaries if c.name == "b = k"]
    assert len(curves) == len(diagram.boundaries) >= 1
    for curve in curves:
        assert np.abs(line(curve.x, curve.y)).max() <= 1e-12
    assert sum(curve.x.size for curve in curves) >= grid.size


def test_lines_at_fixed_rates():
    """`γ ∝ d^x`, `η ∝ d^y`: b = x + y, k = 2x + 1 + y."""
    diagram = exponent_diagram(
        ("output_scale_exponent", GRID), ("lr_exponent", GRID), tune_rates=False
    )
    assert {curve.name for curve in diagram.boundaries} == {"r = 0"}
    for c in diagram.boundaries:
        assert np.abs(np.maximum(c.x + c.y, 2 * c.x + 1 + c.y)).max() <= 1e-12
    flat = exponent_diagram(
        ("init_var_u_exponent", GRID), ("init_var_w_exponent", GRID), tune_rates=False
    )
    assert flat.boundaries  # b ≡ 0: the edge of the area r = 0 is k = 0
    for c in flat.boundaries:
        assert np.abs(1 + np.maximum(c.x, c.y)).max() <= 1e-12


def test_only_the_difference_of_tuned_rates_matters():
    diagram = exponent_diagram(
        ("lr_u_exponent", GRID), ("lr_w_exponent", GRID), output_scale_exponent=-0.5
    )
    excess = diagram.values.signal_excess.values
    for k in range(1 - GRID.size, GRID.size):
        assert np.ptp(np.diagonal(excess, k)) <= 1e-12
    assert np.ptp(excess) > 1


@pytest.mark.parametrize("tuned", [True, False])
def test_regions_are_the_phases_of_the_laws(tuned):
    from lazyrich import ScalingLaw

    grid = np.linspace(-2, 1, 13)  # quarters
    diagram = exponent_diagram(
        ("output_scale_exponent", grid),
        ("init_var_u_exponent", grid),
        tune_rates=tuned,
        lr_w_exponent="1/2",
    )
    for row, s_u in enumerate(grid):
        for column, a in enumerate(grid):
            law = ScalingLaw.from_exponents(a, 0, "1/2", s_u, 0)
            law = law.at_unit_rate() if tuned else law
            name = "_".join(part for part in (law.phase, law.feature_kind) if part)
            assert region_names(diagram)[int(diagram.values.region[row, column])] == name


def test_presets_lie_on_their_side():
    for law in PRESETS.values():
        a, e_u, e_w, s_u, s_w = (
            float(getattr(law, n).exponent)
            for n in ("output_scale", "lr_u", "lr_w", "init_var_u", "init_var_w")
        )
        diagram = exponent_diagram(
            ("output_scale_exponent", [a - 1, a]),
            ("lr_u_exponent", [e_u - 1, e_u]),
            lr_w_exponent=e_w,
            init_var_u_exponent=s_u,
            init_var_w_exponent=s_w,
        )
        name = region_names(diagram)[int(diagram.values.region[-1, -1])]
        assert name.startswith(law.at_unit_rate().phase)


BAD = {
    "no parameter 'foo'; choose from init_alignment": ("foo", "lr", {}),
    "each name may be used once, got lr, lr": ("lr", "lr", {}),
    "each name may be used once, got lr, width, lr": ("lr", "width", {"lr": 1}),
    "'lr' sets lr_u and lr_w, which is given already": ("lr_u", "lr", {}),
    "'lr_u' sets lr_u, which is given already": ("lr", "lr_u", {}),
    "'init_std' sets": ("init_std", "lr", {"init_std_w": 1}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_names_of_parameters(message):
    x, y, fixed = BAD[message]
    with pytest.raises(InputError, match=message):
        parameter_diagram((x, [1.0, 2.0]), (y, [1.0, 2.0]), **fixed)


BAD_EXPONENTS = {
    "no exponent 'width'; choose from init_var_exponent": ("width", "lr_exponent", {}),
    "'lr_u_exponent' sets lr_u_exponent, which": ("lr_exponent", "lr_u_exponent", {}),
    "'init_var_exponent' sets init_var_u_exponent and init_var_w_exponent": (
        "init_var_exponent",
        "lr_exponent",
        {"init_var_u_exponent": 0},
    ),
    "must be a number or a fraction": (
        "init_var_exponent",
        "lr_exponent",
        {"output_scale_exponent": "abc"},
    ),
}


@pytest.mark.parametrize("message", BAD_EXPONENTS)
def test_bad_names_of_exponents(message):
    x, y, fixed = BAD_EXPONENTS[message]
    with pytest.raises(InputError, match=message):
        exponent_diagram((x, [1.0, 2.0]), (y, [1.0, 2.0]), **fixed)


@pytest.mark.parametrize("values", [[1.0], [2.0, 1.0], [1.0, 1.0], [[1.0, 2.0]], [1.0, np.nan]])
def test_bad_axes(values):
    for make, end in ((parameter_diagram, ""), (exponent_diagram, "_exponent")):
        with pytest.raises(InputError, match=f"axis 'lr_u{end}' must hold at least two increasing"):
            make((f"lr_u{end}", values), (f"output_scale{end}", [1.0, 2.0]))


def test_a_field_that_jumps_has_its_boundary_there():
    grid = np.linspace(-1, 1, 5)

    def step(x, y):
        return np.where(x + 0 * y > 0.1, 1.0, -1.0)

    def hole(x, y):
        return np.where(x + 0.3 * y > 0.1, np.nan, -1.0)

    (curve,) = boundaries("step", step, grid, grid, step(grid, grid[:, None]))
    np.testing.assert_allclose(curve.x, 0.1, rtol=1e-14)
    np.testing.assert_array_equal(np.sort(curve.y), grid)
    values = np.where(grid + 0 * grid[:, None] > 0.1, 1.0, -1.0)
    assert boundaries("hole", hole, grid, grid, values) == ()


@pytest.mark.parametrize("layer", ["u", "w"])
def test_linear_axes_from_zero_with_a_saddle_between_give_a_map(layer):
    """Balanced opposed layers are on one curve of this map; its neighbours leave the saddle."""
    made = parameter_diagram(
        (f"lr_{layer}", np.linspace(0, 1, 6)),
        (f"init_std_{layer}", np.linspace(0, 1, 7)),
        width=1,
        init_alignment=-1,
    )
    assert dict(made.values.region.sizes) == {f"init_std_{layer}": 7, f"lr_{layer}": 6}
    assert made.boundaries
    for curve in made.boundaries:
        assert np.isfinite(curve.x).all()
        assert np.isfinite(curve.y).all()


@pytest.mark.parametrize("x", ["lr", "lr_u", "init_std", "init_std_w", "output_scale"])
@pytest.mark.parametrize("y", ["width", "init_alignment", "mean_ay"])
def test_linear_axes_from_zero_give_a_map(x, y):
    values = {"width": [1.0, 2.0, 3.0], "init_alignment": np.linspace(-1, 1, 5)}
    made = parameter_diagram((x, np.linspace(0, 1, 6)), (y, values.get(y, np.linspace(0, 1, 4))))
    assert made.values.region.notnull().all()


def test_every_closed_curve_is_found():
    grid = np.linspace(-3, 3, 25)

    def two_circles(x, y):
        return ((x - 1.5) ** 2 + y**2 - 1) * ((x + 1.5) ** 2 + y**2 - 1)

    found = boundaries("circles", two_circles, grid, grid, two_circles(grid, grid[:, None]))
    assert len(found) == 2
    for curve in found:
        assert np.abs(two_circles(curve.x, curve.y)).max() < 1e-12
        assert (curve.x[0], curve.y[0]) == (curve.x[-1], curve.y[-1])


def test_a_boundary_through_grid_points_up_to_rounding():
    scale, var = np.linspace(-2, 1.5, 24), np.linspace(-2, 1, 24)
    (curve,) = exponent_diagram(
        ("output_scale_exponent", scale), ("init_var_exponent", var)
    ).boundaries
    assert np.allclose(curve.x + curve.y, -1)


def test_what_is_fixed_is_one_number():
    with pytest.raises(
        InputError, match=r"'width' must be one number, not an axis; got shape \(2,"
    ):
        parameter_diagram(("lr_u", [1, 2]), ("lr_w", [1, 2]), width=[10, 20])
    with pytest.raises(InputError, match=r"'init_var_u_exponent' must be one number, not an axis"):
        exponent_diagram(
            ("lr_u_exponent", [1, 2]), ("lr_w_exponent", [1, 2]), init_var_u_exponent=[0, 1]
        )


def test_a_start_that_can_never_move_is_frozen():
    """Was feature learning from a vanishing initialisation, with an infinite order parameter."""
    axis = np.linspace(0.0, 2.0, 5)
    made = parameter_diagram(("output_scale", axis), ("init_std", axis), width=100)
    names = np.array(region_names(made))[made.values.region.values]
    still = (axis == 0) | (axis[:, None] == 0)
    assert (names[still] == "frozen").all()
    assert not (names[~still] == "frozen").any()
    assert (made.values.order_parameter.values[still] == 0).all()
    assert np.isinf(made.values.time_constant.values[still]).all()
    assert (made.values.acting_mechanisms.values[still] == 0).all()
    status = made.values.status.values
    assert all(text.startswith("frozen: nothing can move") for text in status[still])
    assert (status[~still] == "ok").all()


@pytest.mark.parametrize(
    ("fixed", "frozen"),
    [
        ({"init_std_u": 0.0}, False),  # the other layer's gradient is that of a linear model
        ({"init_std_u": 0.0, "lr_u": 0.0}, True),
        ({"init_std_u": 0.0, "lr_w": 0.0}, False),
        ({"init_std_u": 0.0, "init_std_w": 0.0}, True),
        ({"lr": 0.0}, True),
        ({"lr_u": 0.0}, False),
        ({"output_scale": 0.0}, True),
        ({"mean_aa": 0.0, "mean_ay": 0.0}, True),
        ({"init_alignment": -1.0}, False),  # moves to the saddle, where it stays
        ({"mean_ay": 0.0}, False),
    ],
    ids=str,
)
def test_frozen_is_what_the_flow_does_not_move(fixed, frozen):
    fixed = {"init_alignment": 0.5, **fixed}
    setting = Setting.of(width=10.0, **fixed)
    end = flow(setting.state, setting.network, setting.data, np.inf)
    still = bool((end.uu == setting.state.uu) & (end.ww == setting.state.ww))
    assert still == frozen
    axes = ("mean_yy", [2.0, 3.0]), ("width", [10.0, 20.0])
    made = parameter_diagram(*axes, **{k: v for k, v in fixed.items() if k != "width"})
    assert bool((made.values.region == 0).all()) == frozen
    assert bool((made.values.region == 0).any()) == frozen

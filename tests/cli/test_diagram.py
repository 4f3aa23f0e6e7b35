"""`lazyrich diagram`: the diagrams of Python."""

import numpy as np
import pytest

from lazyrich import exponent_diagram, parameter_diagram
from tests.cli.run import answer, run


def assert_same(found, made, x, y):
    assert (found["x"]["name"], found["y"]["name"]) == (x, y)
    assert found["regions"] == made.values.region.attrs["flag_meanings"].split()
    for name, values in made.values.items():
        expected = np.where(np.isfinite(values.values.astype(float)), values.values, np.nan)
        got = np.array(found["values"][name], dtype=float)
        np.testing.assert_array_equal(got, expected)
        assert got.shape == (len(found["y"]["values"]), len(found["x"]["values"]))
    assert set(found["values"]) == set(made.values)
    assert len(found["boundaries"]) == len(made.boundaries)
    for one, curve in zip(found["boundaries"], made.boundaries, strict=True):
        assert one["name"] == curve.name
        np.testing.assert_array_equal(one["x"], curve.x)
        np.testing.assert_array_equal(one["y"], curve.y)


def test_parameters():
    found = answer(
        "diagram", "--x", "output_scale=1e-3:10:12", "--y", "init_std=1e-3:10:9",
        "--set", "width=100", "--set", "lr_u=0.5",
    )  # fmt: skip
    x, y = np.geomspace(1e-3, 10, 12), np.geomspace(1e-3, 10, 9)
    made = parameter_diagram(("output_scale", x), ("init_std", y), width=100, lr_u=0.5)
    assert made.boundaries
    assert_same(found, made, "output_scale", "init_std")


def test_infinite_values_are_null():
    found = answer("diagram", "--x", "init_alignment=-1:1:5", "--y", "output_scale=0:1:4")
    made = parameter_diagram(
        ("init_alignment", np.linspace(-1, 1, 5)), ("output_scale", np.linspace(0, 1, 4))
    )
    assert_same(found, made, "init_alignment", "output_scale")
    assert found["values"]["learning_time"][0] == [None] * 5


@pytest.mark.parametrize("extra", [(), ("--fixed-rates",)])
def test_exponents(extra):
    found = answer(
        "diagram", "--x", "output_scale_exponent=-2:1:7", "--y", "init_var_exponent=-2:1:8",
        "--set", "lr_exponent=1/3", *extra,
    )  # fmt: skip
    made = exponent_diagram(
        ("output_scale_exponent", np.linspace(-2, 1, 7)),
        ("init_var_exponent", np.linspace(-2, 1, 8)),
        lr_exponent="1/3",
        tune_rates=not extra,
    )
    assert_same(found, made, "output_scale_exponent", "init_var_exponent")


@pytest.mark.parametrize("show", ["region", "acting_mechanisms", "ntk_change"])
def test_plot_and_text(tmp_path, show):
    target = tmp_path / "d.pdf"
    done = run(
        "diagram", "--x", "output_scale=1e-3:10:8", "--y", "init_std=1e-2:10:8",
        "--show", show, "--plot", target,
    )  # fmt: skip
    assert done.exit_code == 0
    assert target.read_bytes().startswith(b"%PDF")
    assert [path.name for path in tmp_path.iterdir()] == ["d.pdf"]
    assert done.stderr == f"lazyrich: wrote {target}\n"
    lines = done.stdout.splitlines()
    assert any("rescaling" in line for line in lines) == (show == "acting_mechanisms")
    shares = [float(line.split("%")[0]) for line in lines if "%" in line]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert any(line.startswith("boundary ΔΘ/Θ = 0.118: ") for line in lines)


def test_a_start_that_can_never_move_is_frozen():
    axes = ("--x", "output_scale=0.1:1:5", "--y", "init_std=0:1:5")
    out = run("diagram", *axes).output
    assert "20.0%  frozen" in out
    found = answer("diagram", *axes)
    assert set(found["values"]["region"][0]) == {found["regions"].index("frozen")}

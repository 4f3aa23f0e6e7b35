"""`lazyrich solve`: the numbers of `flow` and `descent`."""

import sys
import time

import numpy as np
import pytest

from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, descent, flow
from tests.cli.run import answer, refusal, run

GRAM = ("--gram", 1, -0.4, 2)
MOMENTS = ("--moments", 1.5, -1, 2)
NETWORK = ("--output-scale", 0.7, "--lr", 0.1, 0.3)
STATE = LineState(uu=1.0, uw=-0.4, ww=2.0)
DATA = LineData(mean_aa=1.5, mean_ay=-1.0, mean_yy=2.0)
NET = LinearNetwork(output_scale=0.7, lr_u=0.1, lr_w=0.3)
KEYS = ("end_to_end_map", "loss", "alignment", "ntk_trace", "uu", "uw", "ww")


def assert_same(found, solution, dim):
    assert list(found) == [dim, *KEYS, "status"]
    for key in KEYS:
        np.testing.assert_array_equal(found[key], solution[key])
    np.testing.assert_array_equal(found[dim], solution[dim])
    assert found["status"] == "ok"


def test_flow_at_times():
    found = answer("solve", *GRAM, *NETWORK, *MOMENTS, "--times", "0,1,5")
    assert_same(found, flow(STATE, NET, DATA, [0, 1, 5]), "time")
    kernel = 0.7**2 * (0.3 * np.array(found["uu"]) + 0.1 * np.array(found["ww"]))
    np.testing.assert_allclose(found["ntk_trace"], kernel, rtol=1e-13)


def test_flow_until():
    found = answer("solve", *GRAM, *NETWORK, *MOMENTS, "--until", 4, "--points", 9)
    assert_same(found, flow(STATE, NET, DATA, np.linspace(0, 4, 9)), "time")
    assert len(answer("solve", *GRAM, *MOMENTS, "--until", 4)["time"]) == 101


def test_infinite_time_is_null():
    found = answer("solve", *GRAM, *NETWORK, *MOMENTS, "--times", "0,inf")
    assert found["time"] == [0, None]
    assert found["end_to_end_map"][1] == pytest.approx(-1 / 1.5, rel=1e-14)


def test_descent_every():
    found = answer("solve", *GRAM, *NETWORK, *MOMENTS, "--steps", 25, "--every", 10)
    assert_same(found, descent(STATE, NET, DATA, steps=25, every=10), "step")
    assert found["step"] == [0, 10, 20, 25]
    assert answer("solve", *GRAM, *MOMENTS, "--steps", 0)["step"] == [0]


def test_defaults_are_those_that_the_help_shows():
    found = answer("solve", *GRAM, *MOMENTS, "--times", "1")
    unit = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
    np.testing.assert_array_equal(
        found["end_to_end_map"], flow(STATE, unit, DATA, [1]).end_to_end_map
    )
    one = answer("solve", "--width", 50, *MOMENTS, "--times", "1")
    state = LineState.sample(50, init_std_u=1, init_std_w=1, seed=0)
    np.testing.assert_array_equal(
        one["end_to_end_map"], flow(state, unit, DATA, [1]).end_to_end_map
    )


@pytest.mark.parametrize("motion", [("--times", "0,2"), ("--steps", 6, "--every", 3)])
def test_draws_give_medians_and_quantiles(motion):
    found = answer(
        "solve", "--width", 10**9, "--init-std", 1e-5, 2e-5, "--seed", 4, "--draws", 40,
        *NETWORK, *MOMENTS, *motion,
    )  # fmt: skip
    state = LineState.sample(10**9, init_std_u=1e-5, init_std_w=2e-5, draws=40, seed=4)
    if motion[0] == "--times":
        solution = flow(state, NET, DATA, [0, 2])
    else:
        solution = descent(state, NET, DATA, steps=6, every=3)
    for key in KEYS:
        values = solution[key].transpose("draw", ...).values
        np.testing.assert_allclose(found[key], np.median(values, 0), rtol=1e-14)
        for level in ("0.05", "0.95"):
            expected = np.quantile(values, float(level), axis=0)
            np.testing.assert_allclose(found["quantiles"][level][key], expected, rtol=1e-13)
    assert set(found) == {motion[0].replace("--", "").rstrip("s"), *KEYS, "status", "quantiles"}


def test_divergence_is_a_status_and_null():
    hot = ("--lr", 3, 3, *MOMENTS, "--steps", 60, "--every", 30)
    one = answer("solve", "--gram", 1, 0.5, 1, *hot)
    assert one["status"].startswith("diverged at step")
    assert one["uu"][-1] is None
    many = answer("solve", "--width", 10, "--draws", 8, *hot)
    assert many["status"] == "8 of 8 diverged"
    assert many["quantiles"]["0.95"]["loss"][-1] is None
    assert many["loss"][0] is not None


def test_extreme_numbers():
    for size in ("1e-300", "1e300"):
        found = answer("solve", "--gram", size, 0, size, "--moments", 1, 1, 1, "--times", "0,1e6")
        assert None not in found["end_to_end_map"]


def write(path, text, **options):
    path.write_text(text, **options)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv(tmp_path, encoding):
    file = write(tmp_path / "a.csv", "größe,other,y\n1,a,2\n2,b,3.5\n-1,c,0\n", encoding=encoding)
    found = answer(
        "solve", *GRAM, *NETWORK, "--csv", file, "--x", "größe", "--y", "y", "--times", 1
    )
    data = LineData.from_samples([1, 2, -1], [2, 3.5, 0])
    np.testing.assert_array_equal(found["loss"], flow(STATE, NET, data, [1]).loss)


def test_csv_of_one_column_twice(tmp_path):
    file = write(tmp_path / "a.csv", "x\r\n1\r\n2\r\n")
    found = answer("solve", *GRAM, "--csv", file, "--x", "x", "--y", "x", "--times", "inf")
    assert found["end_to_end_map"] == [pytest.approx(1)]


def test_table_and_plot(tmp_path):
    target = tmp_path / "a.png"
    done = run("solve", *GRAM, *MOMENTS, "--until", 3, "--plot", target)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split() == ["time", *KEYS]
    assert done.stdout.splitlines()[-1] == "status: ok"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes().startswith(b"\x89PNG")
    hot = ("--width", 9, "--draws", 5, "--lr", 3, 3, "--steps", 40)
    assert run("solve", *hot, *MOMENTS, "--plot", target).exit_code == 0


def test_width_may_be_written_as_a_power():
    rest = ("--init-std", "1e-5", "1e-5", "--moments", 1, 1, 1, "--times", 1)
    assert answer("solve", "--width", "1e10", *rest) == answer("solve", "--width", 10**10, *rest)
    assert "`width` must be a whole number" in refusal("solve", "--width", 1.5, *rest)


def test_infinite_times_are_left_out_of_the_picture(tmp_path):
    target = tmp_path / "a.png"
    done = run(
        "solve", "--gram", 1, 0, 1, "--moments", 1, 1, 1, "--times", "0,1,inf", "--plot", target
    )
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "lazyrich: the picture leaves out the infinite times",
        f"lazyrich: wrote {target}",
    ]


@pytest.mark.parametrize("command", ["solve", "phase"])
def test_help_shows_the_moments(command):
    assert "E[a²], E[ay]" in " ".join(run(command, "--help").stdout.split())


def test_long_work_is_announced(monkeypatch):
    call = ("solve", "--gram", 1, 0.2, 1, "--moments", 1, 1, 1, "--lr", 0.01, 0.01, "--steps", 2000)
    assert run(*call, "--every", 1000).stderr == ""
    monkeypatch.setitem(sys.modules["lazyrich.cli.solve"].__dict__, "LONG", 1000)
    said = run(*call, "--every", 1000)
    assert said.stderr == "lazyrich: working through 2,000 steps of gradient descent\n"
    assert said.stdout.splitlines()[-1] == "status: ok"
    diagram = ("diagram", "--x", "output_scale=1:2:30", "--y", "lr=1:2:30")
    assert run(*diagram).stderr == ""
    monkeypatch.setitem(sys.modules["lazyrich.cli.diagram"].__dict__, "LONG", 800)
    assert run(*diagram).stderr == "lazyrich: solving 900 networks\n"


def test_a_long_table_is_written_in_seconds():
    """A hundred thousand rows; a table that is measured cell by cell took minutes."""
    call = ("solve", "--gram", 1, 0.2, 1, "--moments", 1, 1, 1, "--until", 1, "--points", 10**5)
    start = time.process_time()
    lines = run(*call).stdout.splitlines()
    assert time.process_time() - start < 20
    assert len(lines) == 10**5 + 2
    assert all(line == line.rstrip() for line in lines)
    ends = [lines[0].index(name) for name in lines[0].split()]
    assert all(line[end - 1] == " " != line[end] for line in lines[1:100] for end in ends[1:])

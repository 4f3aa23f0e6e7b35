"""`lazyrich phase` and `lazyrich presets`: phases, exponents and medians of Python."""

import numpy as np
import pytest

from lazyrich import PRESETS, ScalingLaw, order_parameters
from lazyrich.theory.two_layer_linear import LineData
from tests.cli.run import answer, run

NAMES = ("signal_exponent", "kernel_exponent", "rate_exponent", "output_exponent")


@pytest.mark.parametrize(
    "choice", [("-1/2", 0, 0, 0, 0), (-1, 1, 1, 0, "-1/3"), ("0.5", "-3/2", -2, "-1e-1", 0)]
)
def test_exponents(choice):
    found = answer("phase", "--exponents", *choice)
    law = ScalingLaw.from_exponents(*choice)
    assert (found["phase"], found["feature_kind"]) == (law.phase, law.feature_kind)
    for name, value in zip(NAMES, law.exponents, strict=True):
        assert found[name] == float(value)
    assert set(found) == {"phase", "feature_kind", *NAMES}


@pytest.mark.parametrize("name", PRESETS)
def test_preset_with_medians(name):
    found = answer(
        "phase", "--preset", name, "--widths", "1e2,1e4,1e8", "--draws", 30, "--seed", 2,
        "--moments", 2, 1, 3,
    )  # fmt: skip
    law, widths = PRESETS[name], [1e2, 1e4, 1e8]
    data = LineData(mean_aa=2.0, mean_ay=1.0, mean_yy=3.0)
    order = order_parameters(law.sample(widths, draws=30, seed=2), law.network(widths), data)
    assert found["widths"] == widths
    np.testing.assert_array_equal(found["alignment"], abs(order.alignment).median("draw"))
    np.testing.assert_array_equal(found["ntk_change"], order.ntk_change.median("draw"))


def test_presets_is_phase_for_each():
    table = answer("presets", "--draws", 20, "--widths", "10,1e6")
    assert list(table) == list(PRESETS)
    for name, row in table.items():
        one = answer("phase", "--preset", name, "--widths", "10,1e6", "--draws", 20)
        assert row == one


def test_text_for_people():
    done = run("phase", "--exponents", 0, 0, 0, 0, 0, "--widths", "10,100", "--draws", 5)
    assert done.exit_code == 0
    assert "phase: unstable" in done.stdout
    assert "with lr ∝ d^-1, d^-1 it learns in Θ(1) time: kernel phase" in done.stdout
    assert "the initial output grows with the width" in done.stdout
    assert "ntk_change" in done.stdout
    assert "phase: feature, vanishing init" in run("phase", "--exponents", -2, 2, 2, 0, 0).stdout
    fractions = run("phase", "--exponents", "-1/3", 0, 0, 0, 0).stdout
    assert "kernel exponent: 1/3" in fractions


def test_table_of_presets():
    done = run("presets", "--draws", 20)
    assert done.exit_code == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    for name, law in PRESETS.items():
        assert str(law.phase) in rows[name]
    title, *_ = done.stdout.splitlines()
    assert title.split()[-3:] == ["|ζ|", "at", "1e+08"]  # nothing is broken over two lines

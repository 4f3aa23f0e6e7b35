"""Inputs that are whitened in any units, and by how much others are not."""

import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.theory.two_layer_linear import MomentData
from lazyrich.theory.whitened import TOLERANCE, white_power


def moments(sigma_xx):
    return MomentData(sigma_xx=sigma_xx, sigma_yx=np.zeros((1, len(sigma_xx))), mean_yy=1.0)


@pytest.mark.parametrize("power", [1e-300, 0.3, 1.0, 5e307])
def test_the_power_has_any_units(power):
    assert white_power(moments(power * np.eye(5))) == pytest.approx(power, rel=1e-15)


@pytest.mark.parametrize("power", [1e-300, 1.0, 5e307])
@pytest.mark.parametrize(
    ("shape", "share"),
    [
        (np.diag([1.0, 0.5]), "between {0:.4g} and {1:.4g}, off by 0.33 of their mean"),
        (np.array([[0.75, 0.25], [0.25, 0.75]]), "between {0:.4g} and {1:.4g}, off by 0.33 of"),
    ],
    ids=["unequal powers", "a correlation"],
)
def test_others_are_off_by_their_eigenvalues(power, shape, share):
    with pytest.raises(InputError) as refused:
        white_power(moments(power * shape))
    assert share.format(0.5 * power, power) in str(refused.value)


def test_no_input_is_not_whitened():
    with pytest.raises(InputError, match="eigenvalues lie between 0 and 0, off by inf of their"):
        white_power(moments(np.zeros((2, 2))))


@pytest.mark.parametrize(("off", "refused"), [(0.5, False), (2.0, True)])
def test_rounding_is_let_through(off, refused):
    data = moments(np.diag([1.0, 1.0 + 2 * off * TOLERANCE]))
    if refused:
        with pytest.raises(InputError, match=r"off by 2e-09 of their mean"):
            white_power(data)
    else:
        white_power(data)

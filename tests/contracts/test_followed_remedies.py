"""What an error advises is tried: the call as it was is refused, and as advised it runs."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich as lr
from lazyrich.theory.aligned_modes import modes_of
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
)

UNIT = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
X = np.array([[1.0, 0.5], [0.0, 2.0], [-1.0, 1.0]])
Y = X @ [[2.0], [1.0]]
U, W = np.full((1, 3), 0.1), np.full((3, 2), 0.2)
MOMENTS, LINE = MomentData.from_samples(X, Y), LineData.from_samples([1.0, 2.0], [1.0, 3.0])
GENERAL, ON_LINE = GramState.from_weights(U, W), LineState(uu=1.0, uw=0.0, ww=1.0)
CLASSIFIER = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
SAMPLES, LABELS = torch.tensor(X).float(), torch.tensor([0, 2, 1])
S = xr.DataArray([1.0, 2.0], {"s": [0, 1]}, ["s"])
SKEWED = np.array([[1.0, 0.4], [0.5, 1.0]])
ROTATED = np.array([[0.6, 0.8], [-0.8, 0.6]]) / 10
WHITE = np.array([[1.0, 1.0], [1.0, -1.0]])


def solved(state, data, times=(0.0, 1.0)):
    return flow(state, UNIT, data, times)


def rich(targets):
    return lr.richness(CLASSIFIER, (SAMPLES, targets), "cross_entropy")


def telescope(targets):
    sgd = torch.optim.SGD(CLASSIFIER.parameters(), lr=0.1)
    return lr.Telescope(CLASSIFIER, (SAMPLES, targets), "mse", optimizer=sgd)


FOLLOWED = {
    "Make the state with GramState.from_weights, or": (
        lambda: solved(ON_LINE, MOMENTS),
        lambda: solved(GENERAL, MOMENTS),
    ),
    "or the data with LineData.from_samples": (
        lambda: solved(ON_LINE, MOMENTS),
        lambda: solved(ON_LINE, LINE),
    ),
    r"Give weights u of shape \(1, d\) and w of shape \(d, 2\)": (
        lambda: solved(GramState.from_weights(U, W[:, :1]), MOMENTS),
        lambda: solved(GENERAL, MOMENTS),
    ),
    r"there is flow\(GramState, network, MomentData, times\)": (
        lambda: lr.theory.two_layer_linear.time_to_residual(GENERAL, UNIT, MOMENTS, 0.5),
        lambda: solved(GENERAL, MOMENTS),
    ),
    "Solve it with a LineState and LineData": (
        lambda: lr.mechanisms(solved(GENERAL, MOMENTS)),
        lambda: lr.mechanisms(solved(ON_LINE, LINE)),
    ),
    "Give flow more `times`, or descent more `steps`": (
        lambda: lr.mechanisms(solved(ON_LINE, LINE, [1.0])),
        lambda: lr.mechanisms(descent(ON_LINE, UNIT, LINE, steps=2)),
    ),
    r"Take \(G \+ Gᵀ\)/2": (
        lambda: GramState(matrix=SKEWED, outputs=1),
        lambda: GramState(matrix=(SKEWED + SKEWED.T) / 2, outputs=1),
    ),
    r"Take \(Σ \+ Σᵀ\)/2": (
        lambda: MomentData(sigma_xx=SKEWED, sigma_yx=[[1, 1]], mean_yy=9),
        lambda: MomentData(sigma_xx=(SKEWED + SKEWED.T) / 2, sigma_yx=[[1, 1]], mean_yy=9),
    ),
    "Leave it out, and it is computed": (
        lambda: LineState(uu=1, uw=0, ww=1, sine_squared=0.5),
        lambda: LineState(uu=1, uw=0, ww=1),
    ),
    "Give it the same values in both": (
        lambda: LineState(uu=S, uw=0, ww=S.assign_coords(s=[0, 3])),
        lambda: LineState(uu=S, uw=0, ww=S),
    ),
    "or another name in one: array.rename": (
        lambda: LineState(uu=S, uw=0, ww=S.assign_coords(s=[0, 3])),
        lambda: LineState(uu=S, uw=0, ww=S.assign_coords(s=[0, 3]).rename(s="other")),
    ),
    "weights from the first layer on, each": (
        lambda: lr.match([U.T, W.T], (X, Y)),
        lambda: lr.match([W, U], (X, Y)),
    ),
    "lazyrich.match tells which theory holds": (
        lambda: modes_of([ROTATED, ROTATED], MomentData.from_samples(WHITE, WHITE)),
        lambda: lr.match([ROTATED, ROTATED], (WHITE, WHITE)),
    ),
    r"Convert them: targets.long\(\) for labels": (
        lambda: rich(LABELS.float()),
        lambda: rich(LABELS.float().long()),
    ),
    r"targets.squeeze\(-1\) for a column": (
        lambda: rich(LABELS[:, None]),
        lambda: rich(LABELS[:, None].squeeze(-1)),
    ),
    r"targets.float\(\) for one-hot rows": (
        lambda: rich(nn.functional.one_hot(LABELS, 3)),
        lambda: rich(nn.functional.one_hot(LABELS, 3).float()),
    ),
    r"torch.nn.functional.one_hot\(labels, 3\)": (
        lambda: telescope(LABELS),
        lambda: telescope(nn.functional.one_hot(LABELS, 3)),
    ),
    "Give one for both layers or one for each": (
        lambda: lr.parameter_diagram(("lr", [1, 2]), ("output_scale", [1, 2]), lr_u=1.0),
        lambda: lr.parameter_diagram(("lr_w", [1, 2]), ("output_scale", [1, 2]), lr_u=1.0),
    ),
}


@pytest.mark.parametrize("advice", FOLLOWED)
def test_what_is_advised_runs(advice):
    refused, advised = FOLLOWED[advice]
    with pytest.raises(lr.InputError, match=advice):
        refused()
    assert advised() is not None

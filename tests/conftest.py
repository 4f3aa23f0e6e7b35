"""Shared fixtures."""

import sys

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_precision_left():
    """Accelerate keeps its precision for the whole process: no test inherits another's."""
    yield
    if state := sys.modules.get("accelerate.state"):
        for kept in (state.AcceleratorState, state.GradientState):
            kept._reset_state()


@pytest.fixture
def rng():
    """A generator with a fixed seed, fresh for every test."""
    return np.random.default_rng(20240107)

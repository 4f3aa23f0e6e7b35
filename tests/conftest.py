"""Shared fixtures."""

import sys

import numpy as np
import pytest
from hypothesis import settings

# a machine that does other things, too, is no failure
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


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

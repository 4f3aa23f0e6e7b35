"""Problems that several tests solve."""

import numpy as np

from lazyrich.theory.balanced_linear import balanced_state
from lazyrich.theory.two_layer_linear import LinearNetwork, MomentData

UNIT = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)  # the flow of ½‖UW − B‖²
SHAPES = [  # outputs, inputs, width, λ
    *((3, 3, 3, x) for x in (-2.0, 0.0, 2.0)),
    *((4, 2, 2, x) for x in (-0.5, 0.0, 30.0)),
    *((2, 4, 2, x) for x in (-30.0, 0.0, 0.5)),
    *((3, 4, 1, x) for x in (-1.0, 0.0, 1.0)),
    *((4, 2, 3, x) for x in (0.0, 1.0)),
    *((2, 4, 3, x) for x in (-1.0, 0.0)),
    (2, 3, 9, 0.0),
    (1, 1, 1, -3.0),
    (1, 5, 1, 3.0),
    (5, 1, 1, 0.0),
]


def whitened_data(target, power=1.0, noise=0.1):
    target = np.asarray(target, dtype=float)
    return MomentData(
        sigma_xx=power * np.eye(target.shape[1]),
        sigma_yx=power * target,
        mean_yy=power * float(np.sum(target**2)) + noise,
    )


def problem(outputs, inputs, width, scale, seed=0, std=0.3):
    """A state and a target that know nothing of each other."""
    target = np.random.default_rng(seed).standard_normal((outputs, inputs))
    state = balanced_state(
        outputs=outputs,
        inputs=inputs,
        width=width,
        init_relative_scale=scale,
        init_std=std,
        seed=seed + 1,
    )
    return state, target

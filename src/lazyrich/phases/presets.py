"""Named parametrisations of a two-layer network, in effective units (no base width inside γ).

The first six are those of the CIFAR-10 experiment of arXiv:2401.07085, with their constants: in
pairs they are the same network at width 100. `MUP` is the maximal-update parametrisation
(Yang & Hu, arXiv:2011.14522) and `STANDARD` the one of common libraries; both equal `KAIMING` at
width 100. For a layer with m inputs the constant of `init_var_w` carries the usual 1/m.
"""

from __future__ import annotations

from collections.abc import Mapping

from lazyrich.phases.scaling import Power, ScalingLaw

NTK = ScalingLaw(
    output_scale=Power("-1/2"),
    lr_u=Power(0, 0.05),
    lr_w=Power(0, 0.05),
    init_var_u=Power(0),
    init_var_w=Power(0),
)
MEAN_FIELD = ScalingLaw(
    output_scale=Power(-1, 10),
    lr_u=Power(1, 0.0005),
    lr_w=Power(1, 0.0005),
    init_var_u=Power(0),
    init_var_w=Power(0),
)
KAIMING = ScalingLaw(
    output_scale=Power(0),
    lr_u=Power(-1, 5),
    lr_w=Power(-1, 5),
    init_var_u=Power(-1),
    init_var_w=Power(0),
)
KAIMING_PLUS = ScalingLaw(
    output_scale=Power(-1, 100),
    lr_u=Power(1, 0.0005),
    lr_w=Power(1, 0.0005),
    init_var_u=Power(-1),
    init_var_w=Power(0),
)
XAVIER = ScalingLaw(
    output_scale=Power(1, 0.01),
    lr_u=Power(-2, 500),
    lr_w=Power(-2, 500),
    init_var_u=Power(-1),
    init_var_w=Power(-1),
)
XAVIER_PLUS = ScalingLaw(
    output_scale=Power(0),
    lr_u=Power(0, 0.05),
    lr_w=Power(0, 0.05),
    init_var_u=Power(-1),
    init_var_w=Power(-1),
)
MUP = ScalingLaw(
    output_scale=Power(0),
    lr_u=Power(-1, 5),
    lr_w=Power(1, 0.0005),
    init_var_u=Power(-2, 100),
    init_var_w=Power(0),
)
STANDARD = ScalingLaw(
    output_scale=Power(0),
    lr_u=Power(0, 0.05),
    lr_w=Power(0, 0.05),
    init_var_u=Power(-1),
    init_var_w=Power(0),
)

PRESETS: Mapping[str, ScalingLaw] = {
    "ntk": NTK,
    "mean_field": MEAN_FIELD,
    "kaiming": KAIMING,
    "kaiming_plus": KAIMING_PLUS,
    "xavier": XAVIER,
    "xavier_plus": XAVIER_PLUS,
    "mup": MUP,
    "standard": STANDARD,
}
"""Every parametrisation by the name that the command line takes."""

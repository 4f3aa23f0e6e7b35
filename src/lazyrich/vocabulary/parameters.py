"""Parameters that results carry along."""

from __future__ import annotations

from lazyrich.vocabulary.quantity import Quantity

QUANTITIES = (
    Quantity(name="output_scale", symbol="γ", meaning="factor on the network's output"),
    Quantity(name="lr_u", symbol="η_u", meaning="learning rate of the second layer", low=0.0),
    Quantity(name="lr_w", symbol="η_w", meaning="learning rate of the first layer", low=0.0),
    Quantity(name="mean_aa", symbol="E[a²]", meaning="mean square of the inputs", low=0.0),
    Quantity(name="mean_ay", symbol="E[ay]", meaning="mean product of inputs and targets"),
    Quantity(name="mean_yy", symbol="E[y²]", meaning="mean square of the targets", low=0.0),
)

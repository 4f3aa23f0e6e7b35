"""Transfer: hyperparameters of a small network, carried over to a large one by measuring both."""

from __future__ import annotations

from collections.abc import Sequence

from lazyrich._arguments import shown, whole
from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.losses import Loss
from lazyrich.probe.arguments import LabelledBatch
from lazyrich.probe.transfer.family import Factory, NetworkFamily, OptimizersFactory, refuse_makers
from lazyrich.probe.transfer.layout import layout_of
from lazyrich.probe.transfer.matching import Bench, match_first_steps
from lazyrich.probe.transfer.remarks import remarks
from lazyrich.probe.transfer.result import Transfer
from lazyrich.probe.transfer.table import table_of


@exact_arithmetic()
def transfer(
    factory: Factory,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    small: int,
    large: int,
    optimizer: OptimizersFactory,
    ladder: Sequence[int] = (),
    branches: Sequence[str] = (),
    steps: int = 1,
    seeds: int = 3,
    rounds: int = 8,
) -> Transfer:
    """Carry learning rates and init over from a small network to a large one, without a table.

    Tune the small network; then train the large one with the same hyperparameters times the
    factors found here. The first steps of both are made, of copies, with the user's own optimiser,
    and two things are made equal:

    - what every parameter's own step does to the outputs of its layer, rms(ΔW h)/rms(z), by its
      learning rate; of readouts, whose outputs are small in wide networks, as it is;
    - what all steps below a readout do to its outputs, rms(J v), by the scale of its init.

    Before, hidden matrices whose entries do not fall as 1/√fan-in are scaled so that they do.

    A readout is a layer whose inputs grow and whose outputs do not. Over depths, of networks
    whose blocks have numbered names, the blocks of one kind share a factor, and what all of them
    do together to the output is made equal by the init of the layers that end a residual branch.

    Args:
        factory: makes the model of a width or a depth, freshly initialised; or a mapping of models
            by their size, whose parameters correspond by name.
        batch: `(inputs, targets)`, or a mapping, see `forecast`; the same for every size.
        loss: the same as in `forecast`.
        small: width or depth of the network whose hyperparameters are known.
        large: size of the network to train.
        optimizer: a factory `(model, size) -> optimizer` with the hyperparameters of the small
            network, whatever the size; or several that share the parameters out, as for Muon.
        ladder: sizes to measure in place of the large one, which then is not built: factors are
            powers of the size, fitted to these and the small one.
        branches: patterns, over depths, of the layers that end a residual branch, as
            `"blocks.*.mlp.out"`.
        steps: training steps that are measured together, from 1; more if the first one leaves
            some parameters alone, as with a readout that starts at 0.
        seeds: random initialisations of each size.
        rounds: rounds of the search for the factors, at most.

    Returns:
        The factors. `data` holds `own_update` and `flow_update` with their values `…_before` (size
        × seed × parameter or flow), `lr_factor` and `init_factor` with the power of the size that
        they follow, `…_exponent`, with the ends of its interval where there are three sizes or
        more, and muP's factors beside them.

    Raises:
        InputError: sizes that differ in width and depth at once, and what `forecast` refuses.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> def make(width):
        ...     return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
        >>> x = torch.tensor([[1.0, 0.5], [-0.3, 1.0]])
        >>> adam = lambda model, width: torch.optim.Adam(model.parameters(), lr=0.01)
        >>> found = transfer(make, (x, x[:, :1]), small=16, large=256, optimizer=adam)
        >>> model = make(256)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> found.apply(model, optimizer=optimizer)
        >>> round(optimizer.param_groups[0]["lr"], 2)  # that of inputs stays
        0.01

    Reference:
        Maximal update parametrisation: Yang et al., Tensor Programs V, arXiv:2203.03466. What is
        measured, and how it is matched, is derived in the documentation.
    """
    refuse_makers(factory, optimizer)
    _refuse_no_lists(ladder=ladder, branches=branches)
    measured = _sizes(small, large, ladder)
    small, large = measured[0], int(large)
    _refuse_counts(steps=steps, seeds=seeds, rounds=rounds)
    family = NetworkFamily(
        factory=factory, batch=batch, loss=loss, optimizer=optimizer, steps=steps, seeds=seeds
    )
    members = {size: family.member(size) for size in measured}
    layout = layout_of(members[small], members[measured[-1]], branches)
    benches = {
        size: Bench(family=family, layout=layout, member=one) for size, one in members.items()
    }
    goal = benches[small].measure(*benches[small].untouched())
    found = [
        match_first_steps(benches[size], benches[small], goal, rounds) for size in measured[1:]
    ]
    return Transfer(
        small=small,
        large=large,
        data=table_of(layout, members, goal, found),
        notes=tuple(remarks(layout, members[measured[-1]], goal, found)),
        layout=layout,
        members=members,
        family=family,
    )


def _refuse_no_lists(**lists: object) -> None:
    for name, given in lists.items():
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise InputError(
                f"`{name}` must be a list or a tuple, got {shown(given)}. Put it in one."
            )


def _sizes(small: object, large: object, ladder: Sequence[int]) -> list[int]:
    a, b = whole(small) or 0, whole(large) or 0
    if not 1 <= a < b:
        raise InputError(
            f"`small` and `large` must be whole numbers with 1 ≤ small < large, got "
            f"{shown(small)} and {shown(large)}."
        )
    rungs = sorted({whole(one) or 0 for one in ladder} - {a})
    if rungs and (rungs[0] <= a or rungs[-1] > b or len(rungs) < 2):
        raise InputError(
            f"`ladder` must hold at least 2 sizes above `small` = {a} and up to `large` = {b}, got "
            f"{shown(list(ladder))}."
        )
    return [a, *(rungs or [b])]


def _refuse_counts(**counts: object) -> None:
    for name, given in counts.items():
        if (whole(given) or 0) < 1:
            raise InputError(f"`{name}` must be ≥ 1, got {shown(given)}. Pass a whole number.")

"""Every public Dataset speaks the vocabulary: names, dims, attributes and ranges of what it holds.

The list `MADE` says how each is made on a small problem; that it is whole is found by inspection.
"""

import inspect
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import xarray as xr
from docs.vocabulary import vocabulary
from torch import nn

import lazyrich as lr
from lazyrich import phases, study, sweeps
from lazyrich.numerics import exponent_of, within
from lazyrich.numerics.ladder import exponent_attrs
from lazyrich.observables.catalogue import observables
from lazyrich.probe import load_history
from lazyrich.theory.abc import abc_phases
from lazyrich.theory.aligned_modes import mode_flow, mode_times, modes_of
from lazyrich.theory.balanced_linear import (
    balanced_flow,
    balanced_regime,
    balanced_state,
    relative_scale,
    tangent_kernel,
)
from lazyrich.theory.barlow_twins import barlow_flow, barlow_start, barlow_times
from lazyrich.theory.catapult import catapult_descent, catapult_phases, catapult_start
from lazyrich.theory.contrastive_energy import contrastive_flow, contrastive_maxima
from lazyrich.theory.diagonal_linear import diagonal_limit
from lazyrich.theory.plateaus import plateau_schedule
from lazyrich.theory.power_neurons import power_flow, power_weights
from lazyrich.theory.quadratic_start import quadratic_network_prediction
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    neurons,
    time_to_residual,
)
from lazyrich.theory.two_layer_relu import relu_phases
from lazyrich.theory.weight_decay_chain import chain_minima, chain_modes
from lazyrich.vocabulary.losses import LOSSES, under
from lazyrich.vocabulary.parameters import PARAMETERS
from tests.contracts.public import public_callables, public_paths

KNOWN = vocabulary()
ROUNDING = 1e-9
NOISE = {"nfa": 1.0, "cnfa": 1.0}  # from two random directions: about −1 to 1
AXES = {
    "point",
    "time",
    "step",
    "record",
    "seed",
    "draw",
    "layer_a",
    "layer_b",
    "richness",
    "run",
    "theory",
    *PARAMETERS,
}
TEXTS = {  # what is in no vocabulary, for it has neither a symbol nor a range
    "status": "a word: how a run ended",
    "regime": "a word of `JudgedRegime`",
    "delayed": "yes or no",
    "phase": "a word of `JudgedPhase`",
    "catapult_phase": "a word of `Catapult`",
    "collapse": "a word of `Collapse`",
    "feature_kind": "a word of `FeatureKind`",
    "mechanisms": "words of `Mechanism`",
    "sentence": "a sentence for people",
    "data_digest": "a digest",
    "seconds": "of the machine, not of the network",
    "within": "yes or no",
}
ARGUMENTS = {  # hold arrays too, which are the parameters that one puts in: test_parameters
    *("Blocks", "GramState", "LineData", "LineState"),
}
OF_USERS = {  # the names are those of the experiment that somebody writes
    *("lazyrich.sweeps.Decay.run", "lazyrich.sweeps.Experiment.run"),
}


NETWORK = LinearNetwork(output_scale=0.5, lr_u=[0.1, 0.2], lr_w=0.1)
EQUAL = LinearNetwork(output_scale=0.5, lr_u=0.1, lr_w=0.1)
LINE = LineData(mean_aa=1.0, mean_ay=0.8, mean_yy=1.0)
U, W = np.array([[0.3, -0.2, 0.5]]), np.array([[0.1, 0.4], [0.2, 0.0], [-0.3, 0.6]])
ON_LINE = LineState.from_weights(U[0], W[:, 0])
GENERAL = GramState.from_weights(U, W)
MOMENTS = MomentData(
    sigma_xx=np.array([[1.0, 0.2], [0.2, 0.5]]), sigma_yx=np.array([[0.8, -0.1]]), mean_yy=1.0
)
TIMES = np.linspace(0.0, 40.0, 9)
FOLDER = TemporaryDirectory()  # goes with this process
GRID = np.linspace(-2.0, 1.0, 4)


def solutions(**options):
    """A flow and a descent, on a line and in general."""
    for state, data in ((ON_LINE, LINE), (GENERAL, MOMENTS)):
        yield flow(state, NETWORK, data, TIMES, **options)
        yield descent(state, NETWORK, data, steps=6, every=2, **options)


def balanced():
    """A flow over λ from balanced layers."""
    state = balanced_state(
        outputs=1, inputs=3, width=1, init_relative_scale=[-1.0, 1.0], init_std=0.1, seed=0
    )
    white = MomentData(sigma_xx=np.eye(3), sigma_yx=np.array([[0.8, -0.1, 0.3]]), mean_yy=1.0)
    return balanced_flow(state, EQUAL, white, TIMES)


def along_a_line():
    """A trajectory over time and one over steps."""
    yield flow(ON_LINE, NETWORK, LINE, TIMES)
    yield descent(ON_LINE, NETWORK, LINE, steps=40)
    yield descent(ON_LINE, LinearNetwork(output_scale=2, lr_u=9, lr_w=9), LINE, steps=40)


def order():
    """Order parameters over widths."""
    widths = [16, 64, 256, 1024]
    law = lr.PRESETS["ntk"]
    return lr.order_parameters(law.sample(widths, draws=2, seed=0), law.network(widths), LINE)


@cache
def probed():
    """A probe that measures everything, before and after some steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    batch = torch.randn(12, 3), torch.randn(12, 2)
    names = [name for one in observables() for name in one.names]
    probe = lr.Probe(model, batch, observables=names)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with probe.watch(optimizer, when=lr.every(5)):
        for _ in range(10):
            optimizer.zero_grad()
            (model(batch[0]) - batch[1]).square().mean().backward()
            optimizer.step()
    return model, batch, probe


def telescoped():
    """A training of one step, with test inputs."""
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    telescope = lr.Telescope(
        model, (torch.eye(2), torch.ones(2, 1)), optimizer=sgd, test=torch.eye(2)
    )
    (model(torch.eye(2)) - 1).square().mean().backward()
    telescope.step()
    return telescope.measure()


def ansatz():
    """What two random directions give, and all of them with an initial model."""
    model, (x, _), _ = probed()
    torch.manual_seed(1)
    start = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    yield lr.nfa(model, x)
    yield lr.nfa(model, x, start, directions="all", double_centred=True)


def checked():
    """A coordinate check of tiny networks."""
    _, batch, _ = probed()
    return lr.coordinate_check(
        lambda width: nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)),
        batch,
        widths=(4, 8, 16),
        optimizer=0.01,
        seeds=2,
        steps=2,
        kernel=True,
    )


def transferred():
    """A transfer over widths, from the one network and from a ladder, and one over depths."""
    _, batch, _ = probed()

    def wide(width, depth=1):
        hidden = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)]
        return nn.Sequential(nn.Linear(3, width), *hidden, nn.Linear(width, 2))

    given = {"optimizer": lambda model, size: torch.optim.Adam(model.parameters()), "seeds": 2}
    pair = lr.transfer(wide, batch, small=4, large=8, **given)
    yield pair.data
    yield pair.check(sizes=(4, 8, 16), steps=1, seeds=1).data
    yield lr.transfer(wide, batch, small=4, large=64, ladder=(8, 16), **given).data
    yield lr.transfer(
        lambda depth: wide(4, depth), batch, small=1, large=2, branches=("*.0",), **given
    ).data


@cache
def tuned():
    """Richness, tuned on a tiny network."""
    _, batch, _ = probed()
    return lr.best_richness(
        lambda width: nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)),
        batch,
        width=4,
        optimizer=lambda model, width: torch.optim.SGD(model.parameters(), lr=0.1),
        steps=2,
        test=batch,
        richness=(0.1, 1.0, 10.0),
        seeds=2,
        progress=False,
    )


SHORT = {"precision": "float64", "steps": 8, "measurements": 2, "lr": 0.05}
ON_THE_LINE = {"data": "line", "activation": "linear", **SHORT}


def one_result():
    """Of a linear network on a line."""
    return study.Training(**ON_THE_LINE, width=8).run()


def trained():
    """A linear network on a line, and one that learns classes."""
    yield one_result()
    yield study.Training(**SHORT, width=8, samples=40, probe_samples=8, loss="cross_entropy").run()


@cache
def swept():
    """A study of linear networks over a plane, at three widths; nothing has to be refined."""
    axes = {"output_scale": [0.5, 1.0], "lr_scale": [0.5, 1.0], "width": [4, 8, 16]}
    plan = lr.Study(name="contract", base=ON_THE_LINE, axes=axes, seeds=[0, 1])
    plane = study.Plane(x="output_scale", y="lr_scale", level=1e9, at={"width": 8})
    folder = Path(FOLDER.name) / "store"
    with ThreadPoolExecutor(1) as executor:
        refined = study.sweep_refined(plan, folder, plane, executor=executor, progress=False)
    return folder, refined


def reloaded():
    """A history, written and read again."""
    with TemporaryDirectory() as folder:
        probed()[2].save(f"{folder}/run.json")
        return load_history(f"{folder}/run.json")


def stored():
    """The result of one point, out of its store."""
    with sweeps.Store.read_only(swept()[0]) as store:
        return store.read(min(store.keys()))


def measured():
    """The diagram of that study."""
    return study.measured_diagram(lr.results(swept()[0]), "output_scale", "lr_scale")


def paired():
    """A run beside itself."""
    return lr.compare(probed()[2], probed()[2])


MADE = {
    "lazyrich.Probe.history": lambda: probed()[2].history,
    "lazyrich.Telescope.measure": telescoped,
    "lazyrich.best_richness": tuned,
    "lazyrich.cka": lambda: lr.cka(probed()[0], probed()[0], probed()[1][0]),
    "lazyrich.compare": lambda: list(paired().histories),
    "lazyrich.coordinate_check": checked,
    "lazyrich.exponent_diagram": lambda: [
        lr.exponent_diagram(
            ("output_scale_exponent", GRID), ("init_var_exponent", GRID), tune_rates=tuned
        )
        for tuned in (True, False)
    ],
    "lazyrich.fit_exponent": lambda: lr.fit_exponent(order().ntk_change),
    "lazyrich.fitted_phase": lambda: lr.fitted_phase(lr.fit_exponent(order().ntk_change)),
    "lazyrich.initial_cnfa": lambda: lr.initial_cnfa(*probed()[:2]),
    "lazyrich.laziness_index": lambda: lr.laziness_index(*probed()[:2], iterations=2),
    "lazyrich.mechanisms": lambda: [lr.mechanisms(path) for path in along_a_line()],
    "lazyrich.nfa": ansatz,
    "lazyrich.numerics.exponent_of": lambda: exponent_of(measured(), "ntk_change"),
    "lazyrich.numerics.within": lambda: within(lr.fit_exponent(order().ntk_change), -1.0),
    "lazyrich.order_parameters": order,
    "lazyrich.parameter_diagram": lambda: lr.parameter_diagram(
        ("output_scale", 10**GRID), ("init_std", 10**GRID), width=100
    ),
    "lazyrich.phases.acting": lambda: [
        phases.acting(phases.activity(path).sum("interval")) for path in along_a_line()
    ],
    "lazyrich.phases.activity": lambda: [phases.activity(path) for path in along_a_line()],
    "lazyrich.phases.fitted_feature_kind": lambda: phases.fitted_feature_kind(
        lr.fit_exponent(order().ntk_change)
    ),
    "lazyrich.probe.Compared.table": lambda: paired().table(),
    "lazyrich.probe.Verdict.table": lambda: probed()[2].verdict().table(),
    "lazyrich.probe.load_history": reloaded,
    "lazyrich.results": lambda: lr.results(swept()[0]),
    "lazyrich.study.Match.to_dataset": lambda: lr.match(
        [W[:, :1], U], (np.eye(1), np.eye(1))
    ).to_dataset(),
    "lazyrich.study.Training.run": trained,
    "lazyrich.study.Training.run_together": lambda: study.Training.run_together(
        [study.Training(**ON_THE_LINE, width=8, seed=seed) for seed in range(2)]
    ),
    "lazyrich.study.RichnessCurve.best": lambda: tuned().best,
    "lazyrich.study.RichnessCurve.standing_best": lambda: tuned().standing_best,
    "lazyrich.study.exact_solution": lambda: [
        study.exact_solution(data) for data in (one_result().data, lr.results(swept()[0]))
    ],
    "lazyrich.study.measured_diagram": measured,
    "lazyrich.study.sweep_refined": lambda: swept()[1],
    "lazyrich.sweeps.Store.read": stored,
    "lazyrich.sweeps.assemble": lambda: sweeps.assemble(
        [({"width": 8}, one_result())], {"width": [8, 16]}
    ),
    "lazyrich.sweeps.final": lambda: sweeps.final(lr.results(swept()[0])),
    "lazyrich.sweeps.grid": lambda: sweeps.grid(swept()[1].data),
    "lazyrich.sweeps.initial": lambda: sweeps.initial(lr.results(swept()[0])),
    "lazyrich.transfer": transferred,
    "lazyrich.probe.Transfer.check": transferred,
    "lazyrich.theory.abc.abc_phases": lambda: abc_phases(
        [xr.DataArray([-0.5, 0.0], dims="point"), "1/2"], ["1/2", "1/2"], 0
    ),
    "lazyrich.theory.aligned_modes.mode_flow": lambda: mode_flow(
        [2.0, 1.0, 0.0], [0.1, 3.0, 0.5], [0.0, 1.0], depth=[1, 3]
    ),
    "lazyrich.theory.aligned_modes.mode_times": lambda: mode_times([2.0, 1.0], 0.1, depth=[1, 3]),
    "lazyrich.theory.aligned_modes.modes_of": lambda: modes_of(
        [np.eye(2), np.eye(2)],
        MomentData(sigma_xx=np.eye(2), sigma_yx=np.diag([2.0, 1.0]), mean_yy=5.0),
    ),
    "lazyrich.theory.balanced_linear.balanced_flow": lambda: balanced(),
    "lazyrich.theory.balanced_linear.balanced_regime": lambda: balanced_regime(
        [-9.0, 0.0, 9.0], [0.0, 1.0], width=[1, 2], outputs=2, inputs=3
    ),
    "lazyrich.theory.balanced_linear.relative_scale": lambda: relative_scale(GENERAL, EQUAL),
    "lazyrich.theory.balanced_linear.tangent_kernel": lambda: tangent_kernel(
        balanced(), EQUAL, np.eye(3)[:2]
    ),
    "lazyrich.theory.barlow_twins.barlow_flow": lambda: barlow_flow(
        [2.0, 1.0, -0.5], 0.01, [0.0, 1.0, 9.0], lr=[0.5, 1.0]
    ),
    "lazyrich.theory.barlow_twins.barlow_start": lambda: barlow_start(
        [[1e-4, 2e-4], [-1e-4, 1e-4]], np.diag([2.0, 0.5])
    ),
    "lazyrich.theory.barlow_twins.barlow_times": lambda: barlow_times([2.0, 1.0, -0.5], 0.01),
    "lazyrich.theory.catapult.catapult_descent": lambda: catapult_descent(
        [1.5, 3.0, 4.5], 0.03, steps=9, target_output=[0.0, 0.1]
    ),
    "lazyrich.theory.catapult.catapult_phases": lambda: catapult_phases([1.5, 3.0, 4.5], 0.03),
    "lazyrich.theory.catapult.catapult_start": lambda: catapult_start(ON_LINE, NETWORK, LINE),
    "lazyrich.theory.contrastive_energy.contrastive_flow": lambda: contrastive_flow(
        [[2.0, 0.0], [0.0, 1.0]], [0.1, 1.0], [0.0, 3.0], lr=[0.5, 1.0]
    ),
    "lazyrich.theory.contrastive_energy.contrastive_maxima": lambda: contrastive_maxima(
        [[2.0, 0.0, 0.1], [0.0, 1.0, 0.0]], starts=20
    ),
    "lazyrich.theory.diagonal_linear.diagonal_limit": lambda: diagonal_limit(
        [[1.0, 2.0, -1.0], [0.0, 1.0, 1.0]], [1.0, 0.5], factors=[2, 3], init_scale=[1e-3, 1.0]
    ),
    "lazyrich.theory.power_neurons.power_flow": lambda: power_flow(
        U[0], W[:, 0], NETWORK, LINE, TIMES, power=[1.0, 1.5]
    ),
    "lazyrich.theory.power_neurons.power_weights": lambda: power_weights(
        8, init_std_u=[0.1, 1.0], init_std_w=1.0, draws=2, seed=0
    ),
    "lazyrich.theory.plateaus.plateau_schedule": lambda: plateau_schedule(
        mode_times([2.0, 1.0], 0.1, depth=[1, 3]), [4.0, 1.0]
    ),
    "lazyrich.theory.quadratic_start.quadratic_network_prediction": lambda: (
        quadratic_network_prediction(np.ones(8), np.ones(8), width=[8, 64])
    ),
    "lazyrich.theory.single_neuron.neuron_flow": lambda: neuron_flow(
        0.5,
        [0.3, -0.4],
        NETWORK,
        MomentData(sigma_xx=np.eye(2), sigma_yx=[[1.0, 0.5]], mean_yy=2.0),
        [0.0, 1.0, 9.0],
    ),
    "lazyrich.theory.two_layer_linear.descent": lambda: list(solutions(propagator=True))[1::2],
    "lazyrich.theory.two_layer_linear.flow": lambda: list(solutions(propagator=True))[::2],
    "lazyrich.theory.two_layer_linear.neurons": lambda: [
        neurons(path, *layers)
        for path, layers in zip(
            solutions(propagator=True),
            [(U[0], W[:, 0])] * 2 + [(U, W)] * 2,
            strict=True,
        )
    ],
    "lazyrich.theory.two_layer_linear.time_to_residual": lambda: time_to_residual(
        ON_LINE, NETWORK, LINE, [0.9, 0.1]
    ),
    "lazyrich.theory.two_layer_relu.relu_phases": lambda: relu_phases(
        [0.25, 0.5, 1.0, 1.75], [-0.5, 0.0, 0.5]
    ),
    "lazyrich.theory.weight_decay_chain.chain_minima": lambda: chain_minima(
        1.0, [-1.0, 0.0, 2.0], factors=[1, 2, 3], weight_decay=[0.0, 0.9]
    ),
    "lazyrich.theory.weight_decay_chain.chain_modes": lambda: chain_modes(
        MomentData(sigma_xx=np.eye(2), sigma_yx=np.diag([2.0, 1.0]), mean_yy=5.0),
        factors=[2, 3],
        weight_decay=0.5,
    ),
}


def words(annotation):
    """The names in an annotation, which is text where a module postpones them."""
    return set(re.findall(r"\w+", getattr(annotation, "__name__", str(annotation))))


def test_the_list_is_whole():
    """Every public callable that gives arrays, or an object that holds some."""
    arrays = {"Dataset", "DataArray"}
    holders = {
        path.rpartition(".")[2]
        for path, one in public_paths().items()
        if inspect.isclass(one)
        and any(words(said) & arrays for said in inspect.get_annotations(one).values())
    }
    assert holders >= ARGUMENTS
    giving = arrays | (holders - ARGUMENTS)
    found = {
        path
        for path, function in public_callables().items()
        if words(function.__annotations__.get("return")) & giving
    }
    assert found - OF_USERS == set(MADE)
    assert found >= OF_USERS


def datasets(value):
    """The Datasets in what was made: an array, an object that holds some, or several of them."""
    if isinstance(value, xr.Dataset):
        return [value]
    if isinstance(value, xr.DataArray):
        return [value.to_dataset()]
    if is_dataclass(value):
        held = [getattr(value, field.name) for field in fields(value)]
        return [one for one in held if isinstance(one, xr.Dataset)]
    return [data for one in value for data in datasets(one)]


def expected(name, values, data):
    """The quantity that a variable is, and the attributes that it must have."""
    fit = re.fullmatch(r"(?:(\w+)_)?(exponent(?:_low|_high|_points)?)", name)
    if fit and name not in KNOWN:
        of = KNOWN[fit[1] or "ntk_change"]  # the latter is what is fitted here
        like, confidence = xr.DataArray(attrs=of.attrs), data.attrs.get("confidence", 0.95)
        dim = "depth" if "depth" in data.coords and "width" not in data.coords else "width"
        attrs = exponent_attrs(like, dim=dim, confidence=confidence)[fit[2]]
        return replace(of, low=-np.inf, high=np.inf), attrs
    quantity = KNOWN[name]
    if name in ("loss", "test_loss"):  # says its convention
        named = [under(loss, quantity) for loss in LOSSES]
        quantity = next((one for one in named if one.attrs == values.attrs), quantity)
    flags = {key: said for key, said in values.attrs.items() if key.startswith("flag_")}
    return quantity, quantity.attrs | flags


@pytest.mark.parametrize("path", MADE)
def test_it_speaks_the_vocabulary(path):
    found = datasets(MADE[path]())
    assert found
    for data in found:
        assert data.data_vars
        for axis in set(map(str, data.coords)) & set(PARAMETERS):
            assert data[axis].attrs == PARAMETERS[axis].attrs, axis
        for key, values in data.data_vars.items():
            name = str(key).removesuffix("_of_result")  # beside an axis of this name
            own = set(values.dims) - AXES
            if name in TEXTS:
                assert own <= {"layer"}, name
                assert "long_name" in values.attrs or name == "status", name
                continue
            quantity, attrs = expected(name, values, data)
            assert values.attrs == attrs, name
            assert own <= set(quantity.dims), name
            finite = values.values[np.isfinite(values.values)]
            assert (finite >= quantity.low - NOISE.get(name, ROUNDING)).all(), name
            assert (finite <= quantity.high + NOISE.get(name, ROUNDING)).all(), name

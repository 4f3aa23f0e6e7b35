"""What the interactive page has to compute, from Python: `python -m tests.page.fixtures` writes it.

The files lie in page/test/fixtures, where the tests in Node read them. What JSON has no number for
is a text: "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import stats

from lazyrich import (
    PRESETS,
    Power,
    ScalingLaw,
    exponent_diagram,
    mechanisms,
    order_parameters,
    parameter_diagram,
)
from lazyrich._json_arrays import to_json
from lazyrich.phases import Setting, relu_scaling
from lazyrich.phases.diagram import MECHANISM_SETS, REGIONS
from lazyrich.probe import judge
from lazyrich.theory.balanced_linear import balanced_flow, balanced_regime, balanced_state
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    MomentData,
    descent,
    flow,
    time_to_residual,
)
from lazyrich.theory.two_layer_linear.readout import LineReadout
from lazyrich.theory.two_layer_relu import relu_phases
from lazyrich.vocabulary.regimes import Mechanism
from tests.reference import line
from tests.theory.two_layer_linear.problems import (
    EDGES,
    VARIABLES,
    inputs,
    problem,
    random_problem,
    times,
)

FOLDER = Path(__file__).parents[2] / "page" / "test" / "fixtures"
MULTIPLES = (0.01, 1.0, 10.0, 100.0, math.inf)
KINDS = ("generic", "small", "kernel", "wide", "orthogonal", "near", "exact")
SHARES = (0.9, 0.5, 0.1, 1e-6)
NAMES = LineReadout._fields


def plain(value):
    """JSON of numbers, arrays and words."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def line_problem(state, network, data):
    """The fields of the page's `LineProblem`."""
    fields = {name: getattr(state, name) for name in ("uu", "uw", "ww", "sine_squared")}
    fields |= {name: getattr(network, name) for name in ("output_scale", "lr_u", "lr_w")}
    fields |= {name: getattr(data, name) for name in ("mean_aa", "mean_ay", "noise")}
    return {name: value.item() for name, value in fields.items()}


def decomposition(solution):
    """What `mechanisms` says of a solution."""
    found = mechanisms(solution)
    names = ("log_output", "log_alignment", "log_rescaling", "alignment_share", "sign_changes")
    windows = [
        {
            "mechanism": name,
            "change": one.mechanism_change.item(),
            "acts": one.mechanism_acts.item(),
            "start": one.window_start.item(),
            "stop": one.window_stop.item(),
        }
        for name in map(str, Mechanism)
        for one in [found.sel(mechanism=name)]
    ]
    columns = {name: found[name].values for name in (*names, "first_sign_change")}
    return columns | {"windows": windows}


def line_cases():
    """The problems of the closed form, by name."""
    cases = dict(EDGES)
    for kind in KINDS:
        rng = np.random.default_rng(int.from_bytes(kind.encode(), "little") % 2**32)
        cases |= {f"{kind} {i}": random_problem(kind, rng) for i in range(2)}
    for ratio in (1e-100, 1e-300):
        cases[f"start {ratio:g} of the optimum"] = problem(1.3 * ratio, 0.2 * ratio, 0.9 * ratio)
    return cases


def on_a_line():
    """The closed form: what mpmath and the library say."""
    return [{"name": name, **line_case(case)} for name, case in line_cases().items()]


def line_case(case, *, exact=True):
    """One problem at a few times; `exact` also by mpmath, which takes a while."""
    state, network, data = inputs(case)
    at = times(case, MULTIPLES)
    solution = flow(state, network, data, at)
    order = order_parameters(state, network, data)
    found = {
        "problem": line_problem(state, network, data),
        "mean_yy": case["Eyy"],
        "times": at,
        "status": solution.status.item(),
        "found": {name: solution[name].values for name in NAMES},
        "order": {name: order[name].item() for name in order.data_vars}
        | {"status": order.status.item()},
        "time_to_residual": time_to_residual(state, network, data, SHARES).values,
        "mechanisms": decomposition(solution),
    }
    if exact:
        rows = [{VARIABLES[k]: float(value) for k, value in line(case, t).items()} for t in at]
        found["exact"] = {name: [row[name] for row in rows] for name in rows[0]}
    return found


DESCENTS = {
    "generic": (problem(1.1, -0.3, 0.8, eu=0.03, ew=0.05), 40, 4),
    "a catapult": (problem(40, 0.5, 40, g=0.1, eu=2.9, ew=2.9, Eaa=1, Eay=0.2), 60, 3),
    "diverges": (problem(1.0, 0.1, 1.0, g=1, eu=1.5, ew=1.5, Eaa=1, Eay=0, Eyy=0), 20, 3),
    "diverges at once": (problem(1.1, 0.3, 0.8, eu=1e300, ew=1e300), 3, 1),
    "a start far below": (problem(1e-250, 1e-251, 1e-250, eu=0.3, ew=0.5), 900, 60),
    "balanced, R < 0": (problem(0.8, 0.1, 2.0, eu=0.06, ew=0.02), 30, 7),
    "a frozen layer": (problem(1.1, 0.3, 0.8, eu=0, ew=0.2), 12, 2),
    "the other layer": (problem(1.1, 0.3, 0.8, eu=0.2, ew=0), 12, 2),
    "a frozen layer diverges": (problem(1.1, 0.3, 0.8, eu=0, ew=20), 800, 50),
    "both frozen": (problem(1.1, 0.3, 0.8, eu=0, ew=0), 4, 2),
    "no steps": (problem(1.1, 0.3, 0.8), 0, 1),
    "no output scale": (problem(1.1, 0.3, 0.8, g=0), 4, 2),
    "negative output scale": (problem(1.1, 0.3, 0.8, g=-0.7, eu=0.03, ew=0.05), 20, 5),
}


def steps():
    """Gradient descent, catapults and divergence included."""
    cases = []
    for name, (case, count, every) in DESCENTS.items():
        state, network, data = inputs(case)
        run = descent(state, network, data, steps=count, every=every)
        cases.append(
            {
                "name": name,
                "problem": line_problem(state, network, data),
                "steps": count,
                "every": every,
                "at": run.step.values.astype(float),
                "status": run.status.item(),
                "diverged_at": run.diverged_at.item(),
                "found": {name: run[name].values for name in NAMES},
            }
        )
    return cases


DIAGRAMS = (
    (("output_scale", "geomspace", 1e-3, 10, 12), ("init_std", "geomspace", 1e-3, 10, 11), {}),
    (
        ("width", "geomspace", 1, 1e12, 9),
        ("output_scale", "geomspace", 1e-6, 10, 8),
        {"lr_u": 0.1, "init_alignment": 0.3},
    ),
    (("init_alignment", "linspace", -1, 1, 9), ("init_std_u", "geomspace", 1e-2, 1, 9),
     {"width": 10.0, "init_std_w": 0.1}),
    (("lr_u", "linspace", 0, 2, 5), ("init_std", "linspace", 0, 0.1, 5), {"width": 4.0}),
)  # fmt: skip
POINTS = (
    {},
    {"init_std_u": 0.01, "init_std_w": 0.01},
    {"init_alignment": -1.0, "init_std_u": 0.02, "init_std_w": 0.02},
    {"init_alignment": -1.0, "init_std_u": 0.0309, "init_std_w": 0.0309},
    {"init_alignment": 0.9, "output_scale": 0.001, "width": 1e6},
    {"init_alignment": -0.5, "init_std_u": 0.05, "init_std_w": 0.01, "mean_ay": -0.9},
    {"lr_u": 0.0, "lr_w": 0.0},
    {"lr_u": 0.0},
    {"init_std_u": 0.0, "init_std_w": 0.0},
    {"mean_ay": 0.0},
)


def spaced(axis):
    """The values of an axis."""
    name, how, low, high, count = axis
    return name, getattr(np, how)(low, high, count)


def parameter_diagrams():
    """Diagrams over parameters at finite width, and points of one."""
    diagrams = []
    for x, y, fixed in DIAGRAMS:
        diagram = parameter_diagram(spaced(x), spaced(y), **fixed)
        order = diagram.values
        diagrams.append(
            {
                "x": {"name": x[0], "values": spaced(x)[1]},
                "y": {"name": y[0], "values": spaced(y)[1]},
                "fixed": fixed,
                "region": order.region.values.ravel(),
                "boundaries": [
                    {"name": curve.name, "x": curve.x, "y": curve.y} for curve in diagram.boundaries
                ],
            }
        )
    return {"diagrams": diagrams, "points": [point(fixed) for fixed in POINTS]}


def point(fixed):
    """One point: a diagram of two by two, of which it is a corner."""
    width = fixed.get("width", 1000.0)
    zeta = fixed.get("init_alignment", 0.0)
    rest = {name: value for name, value in fixed.items() if name not in ("width",)}
    values = parameter_diagram(
        ("width", [width, 2 * width]), ("mean_yy", [1.0, 2.0]), **rest
    ).values.isel(width=0, mean_yy=0)
    setting = Setting.of(**fixed)
    order = order_parameters(setting.state, setting.network, setting.data)
    names = MECHANISM_SETS[values.acting_mechanisms.item()]
    return {
        "setting": {name: value for name, value in fixed.items() if name != "init_alignment"},
        "init_alignment": zeta,
        "state": {name: getattr(setting.state, name).item() for name in ("uu", "uw", "ww")},
        "region": REGIONS[values.region.item()],
        "mechanisms": [] if names == "none" else names.split("+"),
        "order": {name: order[name].item() for name in order.data_vars}
        | {"status": order.status.item()},
    }


EXPONENT_DIAGRAMS = (
    (("output_scale_exponent", -2, 1, 13), ("init_var_exponent", -2, 1, 13), {}, True),
    (("lr_u_exponent", -1, 1, 9), ("init_var_w_exponent", -2, 1, 10), {}, True),
    (("output_scale_exponent", -2, 1, 12), ("lr_exponent", -2, 2, 11),
     {"init_var_u_exponent": "-1"}, False),
    (("lr_u_exponent", -1, 1, 9), ("lr_w_exponent", -1, 1, 10),
     {"output_scale_exponent": "-1/2"}, False),
    (("init_var_u_exponent", -1, 1, 8), ("init_var_w_exponent", -1, 1, 8),
     {"output_scale_exponent": "-1"}, True),
    (("lr_w_exponent", -1, 1, 8), ("output_scale_exponent", 0, 1, 8), {}, True),
)  # fmt: skip
RELU = (
    *(("1/2", "0"), (1, 0), ("1/2", "1/2"), ("7/4", "0"), ("7/4", "1/2"), ("7/4", "-1/2")),
    *(
        (2, -2),
        (2, 1),
        ("1/4", "0"),
        (1, "1/3"),
        (1.5, 0.5),
        ("0.75", "-3"),
        (3, "1.25"),
        ("3/2", 1),
    ),
)


def exponents():
    """Phases of laws, of diagrams over exponents and of ReLU networks."""
    rng = np.random.default_rng(0)
    laws = dict(PRESETS)
    for i in range(20):
        powers = [
            f"{a}/{b}" for a, b in zip(rng.integers(-6, 7, 5), rng.integers(1, 5, 5), strict=True)
        ]
        laws[f"random {i}"] = ScalingLaw.from_exponents(*powers)
    for name in list(laws)[-20:]:
        laws[f"{name} at unit rate"] = laws[name].at_unit_rate()
    diagrams = []
    for x, y, fixed, tuned in EXPONENT_DIAGRAMS:
        axes = [(name, np.linspace(low, high, count)) for name, low, high, count in (x, y)]
        diagram = exponent_diagram(*axes, tune_rates=tuned, **fixed)
        diagrams.append(
            {
                "axes": [{"name": name, "values": values} for name, values in axes],
                "fixed": fixed,
                "tune_rates": tuned,
                "region": diagram.values.region.values.ravel(),
                "signal_excess": diagram.values.signal_excess.values.ravel(),
                "rate_exponent": diagram.values.rate_exponent.values.ravel(),
                "boundaries": [
                    {"name": curve.name, "x": curve.x, "y": curve.y} for curve in diagram.boundaries
                ],
            }
        )
    return {
        "laws": [{"name": name, **law_case(law)} for name, law in laws.items()],
        "presets": list(PRESETS),
        "diagrams": diagrams,
        "relu": [relu_case(*pair, zero) for pair in RELU for zero in (False, True)],
        "exponents": [
            {"given": given, "text": str(Power(given).exponent)}
            for given in ("-1/2", 0.5, 1 / 3, "0.3333", -2, "1e-3", "+.5", 0.1, 2.718281828)
        ],
    }


def law_case(law):
    """A law, its phase, and its member at a width."""
    names = ("output_scale", "lr_u", "lr_w", "init_var_u", "init_var_w")
    powers = {name: getattr(law, name) for name in names}
    scaling = relu_scaling(law)
    return {
        "law": {
            name: {"exponent": str(power.exponent), "constant": power.constant}
            for name, power in powers.items()
        },
        "at_1e6": {name: power.at(1e6) for name, power in powers.items()},
        "phase": law.phase,
        "feature_kind": law.feature_kind,
        "texts": {name: str(value) for name, value in law.exponents._asdict().items()},
        "relu": {"gamma": str(scaling.gamma), "gamma_prime": str(scaling.gamma_prime)},
    }


def relu_case(gamma, gamma_prime, zero_output):
    """One pair of exponents."""
    found = relu_phases(gamma, gamma_prime, zero_output=zero_output)
    return {
        "gamma": gamma,
        "gamma_prime": gamma_prime,
        "zero_output": zero_output,
        "found": {name: found[name].item() for name in found.data_vars}
        | {name: found[name].item() for name in ("condensation", "phase", "status")},
    }


BALANCED = (
    # outputs, inputs, width, λ, σ, γ, η_u, η_w, target
    (2, 2, 2, 0.0, 0.1, 1.0, 0.5, 0.5, [[1.0, 0.5], [-0.25, 0.75]]),
    (2, 3, 2, 2.0, 0.3, 1.0, 0.5, 0.5, [[1.0, 0.2, 0.0], [0.0, 0.5, -0.4]]),
    (2, 3, 2, -1.5, 0.2, 1.0, 1.0, 1.0, [[1.0, 0.2, 0.0], [0.0, 0.5, -0.4]]),
    (3, 2, 1, -4.0, 1e-3, 1.0, 1.0, 1.0, [[1.0, 0.2], [0.0, 0.5], [0.3, 0.1]]),
    (1, 1, 1, 0.5, 1e-6, 1.0, 0.3, 0.3, [[0.7]]),
    (2, 2, 2, 30.0, 0.1, 1.0, 0.2, 0.2, [[1.0, 0.5], [-0.25, 0.75]]),
    (2, 2, 3, 0.0, 0.05, -2.0, 0.1, 0.1, [[1.0, 0.0], [0.0, 0.3]]),
    (2, 2, 2, 0.0, 0.2, 0.7, 0.2, 0.8, [[1.0, 0.5], [-0.25, 0.75]]),
)
BALANCED_TIMES = (0.0, 0.01, 0.3, 1.0, 4.0, 30.0, 400.0)
BALANCED_NAMES = ("loss", "alignment", "ntk_trace", "ntk_change", "kernel_distance")


def balanced():
    """λ-balanced networks, and the rule of their regimes."""
    cases = [balanced_case(seed, *case) for seed, case in enumerate(BALANCED)]
    rule = []
    for scale in (-100.0, -1.0, 0.0, 0.3, 2.0, 100.0):
        for sigma in (0.0, 0.5, 3.0):
            shape = {"width": 2, "outputs": 2, "inputs": 4}
            found = balanced_regime(scale, sigma, **shape)
            rule.append(
                {"scale": scale, "sigma": sigma, "shape": shape}
                | {"found": {name: found[name].item() for name in found.data_vars}}
            )
    return {"cases": cases, "rule": rule}


def balanced_case(seed, outputs, inputs, width, scale, std, gamma, lr_u, lr_w, target):
    """One network: weights that are balanced at γ = 1 and equal rates, in units of the others."""
    state = balanced_state(
        outputs=outputs, inputs=inputs, width=width, init_relative_scale=scale, init_std=std,
        seed=seed,
    )  # fmt: skip
    theta = state.factor.values
    tilt, size = (lr_w / lr_u) ** 0.25, abs(gamma) ** 0.5
    u = theta[:outputs] / (size * tilt * np.sign(gamma))
    w = theta[outputs:].T / (size / tilt)
    best = np.array(target)
    network = LinearNetwork(output_scale=gamma, lr_u=lr_u, lr_w=lr_w)
    data = MomentData(sigma_xx=np.eye(inputs), sigma_yx=best, mean_yy=float((best**2).sum()))
    found = balanced_flow(GramState.from_weights(u, w), network, data, BALANCED_TIMES)
    maps = found.end_to_end_map.transpose("time", "k", "m").values
    return {
        "problem": {"u": u, "w": w, "target": best}
        | {"output_scale": gamma, "lr_u": lr_u, "lr_w": lr_w},
        "times": BALANCED_TIMES,
        "found": {name: found[name].values for name in BALANCED_NAMES},
        "end_to_end_map": maps,
        "singular_values": np.linalg.svd(maps, compute_uv=False),
        "relative_scale": found.relative_scale.item(),
        "regime": found.regime.item(),
        "delayed": found.delayed.item(),
        "status": found.status.item(),
    }


HISTORIES = {
    "lazy": {"ntk_change": [0.0, 0.01, 0.05], "spread": 0.01},
    "intermediate": {"ntk_change": [0.0, 0.2, 0.5], "spread": 0.1},
    "rich": {"ntk_change": [0.0, 0.9, 3.0], "spread": 0.3},
    "between": {"ntk_change": [0.0, 0.05, 0.1], "spread": 0.02},
    "no interval": {"ntk_change": [0.0, 0.05, 0.1], "spread": math.nan},
    "grew": {"ntk_change": [0.0, 0.2, 0.3], "spread": 0.1, "loss": [1.0, 2.0, 5.0]},
    "diverged": {"ntk_change": [0.0, 0.2, math.nan], "spread": 0.1, "loss": [1.0, 2.0, math.inf]},
    "still": {"ntk_change": [0.0, 0.0, 0.0], "spread": 0.0, "loss": [1.0, 1.0, 1.0],
              "output_change": [0.0, 0.0, 0.0], "movement": 0.0},
    "hardly moved": {"ntk_change": [0.0, 1e-3, 2e-3], "spread": 1e-3, "loss": [1.0, 0.99, 0.98],
                     "output_change": [0.0, 0.01, 0.02]},
    "one look": {"ntk_change": [0.0], "spread": 0.0, "loss": [1.0], "output_change": [0.0]},
}  # fmt: skip


def history_of(
    ntk_change, spread, loss=(1.0, 0.5, 0.1), output_change=(0.0, 0.5, 0.9), movement=0.2
):
    """A history with these numbers, as a probe would write it."""
    change = np.array(ntk_change)
    steps = 10 * np.arange(len(change))
    layered = np.outer(np.arange(len(change)), [1.0, 2.0])
    columns = {
        "loss": np.array(loss),
        "ntk_change": change,
        "ntk_change_low": np.clip(change - spread, 0, None),
        "ntk_change_high": change + spread,
        "output_change": np.array(output_change),
    }
    tables = {
        "parameter_data_alignment": 0.1 + 0.2 * layered,
        "layer_log_alignment": np.log1p(2 * layered),
        "layer_log_rescaling": 0.1 * layered,
        "weight_movement": movement * layered,
    }
    return xr.Dataset(
        {name: ("step", values) for name, values in columns.items()}
        | {name: (("step", "layer"), table) for name, table in tables.items()},
        coords={"step": steps, "layer": ["0", "2"]},
        attrs={"samples": 32, "setting": json.dumps({"model": "Sequential"})},
    )


def histories():
    """Histories, their verdicts, and the mechanisms of their layers."""
    cases = []
    for name, numbers in HISTORIES.items():
        history = history_of(**numbers)
        verdict = judge(history)
        cases.append(
            {
                "name": name,
                "history": json.loads(to_json(history)),
                "regime": verdict.regime,
                "windows": [
                    [
                        {"mechanism": w.mechanism, "change": w.change}
                        | {"start": w.start, "stop": w.stop}
                        for w in layer.mechanisms
                    ]
                    for layer in verdict.layers
                ],
            }
        )
    return cases


def wishart():
    """Quantiles of χ² that the page's draws must follow."""
    levels = np.linspace(0.05, 0.95, 19)
    freedoms = (1.0, 2.0, 3.0, 10.0, 1e3, 1e6, 1e12)
    return {
        "levels": levels,
        "quantiles": [
            {"freedom": freedom, "values": stats.chi2.ppf(levels, freedom)} for freedom in freedoms
        ],
        "normal": stats.norm.ppf(levels),
    }


FILES = {
    "line": on_a_line,
    "descent": steps,
    "parameters": parameter_diagrams,
    "exponents": exponents,
    "balanced": balanced,
    "histories": histories,
    "wishart": wishart,
}


def main():
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        text = json.dumps(plain(make()), ensure_ascii=False, separators=(",", ":"))
        (FOLDER / f"{name}.json").write_text(text.replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()

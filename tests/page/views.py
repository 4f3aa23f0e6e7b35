"""What the interactive page has to show and say: `python -m tests.page.views` writes it.

Each view is an address of the page. The numbers are of the library's flow, descent and mechanisms,
at times and steps of its own; the words are derived here, from those numbers, once more.
"""

from __future__ import annotations

import json
import math

import numpy as np

from lazyrich import PRESETS, Power, ScalingLaw, mechanisms, order_parameters
from lazyrich.phases import Setting
from lazyrich.theory.two_layer_linear import descent, flow
from lazyrich.vocabulary.regimes import Mechanism, regimes_of_change
from tests.page.fixtures import FOLDER, plain

TARGET = FOLDER / "views.json"
ALIGNMENTS = {"orthogonal": 0.0, "aligned": 1.0, "anti_aligned": -1.0}
NAMES = ("output_scale", "lr_u", "lr_w", "init_var_u", "init_var_w")
QUANTITIES = ("end_to_end_map", "excess_loss", "alignment", "uu", "ww", "ntk_change")
TIMES = (1, 37, 111, 239)  # of the page's 240 equal steps to 2.5 learning times
STEPS = (0, 1, 5, 20)
MANY = 2000  # steps of descent after which it is judged

DEFAULT = ScalingLaw(
    output_scale=Power(0),
    lr_u=Power(0, 0.05),
    lr_w=Power(0, 0.05),
    init_var_u=Power(-1, 0.1),
    init_var_w=Power(-1, 0.1),
)
UNEQUAL = ScalingLaw(
    output_scale=Power(0, 0.5),
    lr_u=Power(0, 0.2),
    lr_w=Power(0, 0.02),
    init_var_u=Power(-1, 0.02),
    init_var_w=Power(-1, 2.0),
)
VIEWS = (
    ("as it is opened, but orthogonal", DEFAULT, {}),
    ("a lazy network", PRESETS["ntk"], {}),
    ("aligned layers", DEFAULT, {"start": "aligned"}),
    ("a negative target", DEFAULT, {"start": "anti_aligned", "mean_ay": -0.7}),
    ("the wrong sign", UNEQUAL, {"start": "anti_aligned"}),
    ("a large wrong output", PRESETS["xavier_plus"], {"start": "aligned", "mean_ay": 0.2}),
    ("unequal layers", UNEQUAL, {"mean_aa": 2.0, "noise": 0.3, "width": 200}),
    ("a trillion neurons", PRESETS["kaiming_plus"], {"width": 10**12}),
    ("muP", PRESETS["mup"], {"width": 10**4}),
    ("a catapult", PRESETS["ntk"], {"step_size": 12.0, "start": "orthogonal", "noise": 0.1}),
    ("divergence", DEFAULT, {"step_size": 60.0}),
    ("steps that cannot settle", DEFAULT, {"step_size": 14.0}),
    ("a frozen layer", DEFAULT, {"lr_u": 0.0}),
)  # fmt: skip


def views():
    """Every view: its address, numbers and words."""
    return [{"name": name, **view(law, given)} for name, law, given in VIEWS]


def view(law, given):
    """One of them."""
    options = {"start": "orthogonal", "width": 1000, "step_size": 1.0}
    options |= {"mean_aa": 1.0, "mean_ay": 1.0, "noise": 0.0} | given
    frozen = {name: value for name, value in options.items() if name in NAMES}  # of no family
    values = {name: getattr(law, name).at(float(options["width"])) for name in NAMES} | frozen
    width, aa, ay = (options[name] for name in ("width", "mean_aa", "mean_ay"))
    setting = Setting(
        width=width,
        **{name: values[name] for name in ("output_scale", "lr_u", "lr_w")},
        init_std_u=values["init_var_u"] ** 0.5,
        init_std_w=values["init_var_w"] ** 0.5,
        init_alignment=ALIGNMENTS[options["start"]],
        mean_aa=aa,
        mean_ay=ay,
        mean_yy=ay**2 / aa + options["noise"],
    )
    found = runs(setting, options["step_size"])
    phase, kind = ("cannot tell", None) if frozen else (law.phase, law.feature_kind)
    words = {"phase": str(phase), "kind": kind if kind is None else str(kind)}
    return {"address": address(law, options), **found, **words}


def address(law, options):
    """The address behind the `#`."""
    powers = {name: getattr(law, name) for name in NAMES}
    parts = {name: f"{power.constant:.12g}d{power.exponent}" for name, power in powers.items()}
    return "&".join(f"{name}={value}" for name, value in (parts | options).items())


def runs(setting, size):
    """Numbers of flow and descent, and what they mean."""
    state, network, data = setting.state, setting.network, setting.data
    order = order_parameters(state, network, data)
    late = 2.5 * order.learning_time.item()
    times = [late * i / 239 for i in TIMES]
    solution = flow(state, network, data, times)
    large = type(network)(
        output_scale=network.output_scale, lr_u=size * network.lr_u, lr_w=size * network.lr_w
    )
    steps = descent(state, large, data, steps=MANY)
    first = steps.isel(step=list(STEPS))
    change = order.ntk_change.item()
    return {
        "times": times,
        "flow": {name: solution[name].values for name in QUANTITIES},
        "steps": STEPS,
        "descent": {name: first[name].values for name in QUANTITIES},
        "regime": str(regimes_of_change(change, change)[0]),
        "change": change,
        "learning_time": order.learning_time.item(),
        "sharpness": sharpness(
            solution=flow(state, network, data, [0.0, math.inf]), data=data, size=size
        ),
        **mechanism_words(state, network, data, late),
        **step_words(steps),
    }


def sharpness(*, solution, data, size):
    """At the start and where the flow ends."""
    return 2 * size * data.mean_aa.item() * solution.ntk_trace.values


def mechanism_words(state, network, data, late):
    """Which mechanisms act and which of them does most of the change of the output."""
    dense = np.unique(
        np.concatenate([np.geomspace(late * 1e-7, late * 40, 4000), np.linspace(0, late, 2000)])
    )
    solution = flow(state, network, data, dense)
    found = mechanisms(solution)
    acting = [str(name) for name in found.mechanism.values[found.mechanism_acts.values]]
    vanishes = len(acting) == len(Mechanism) and abs(solution.alignment[0].item()) == 1
    windows = {
        name: [found[end].sel(mechanism=name).item() for end in ("window_start", "window_stop")]
        for name in acting
        if not vanishes  # with a layer its logarithm goes to −∞, and there is no tenth of that
    }
    return {"acting": acting, "dominant": dominant(found, acting), "windows": windows}


def dominant(found, acting):
    """Rescaling if its part of ln|f| is the larger one, else the turn that is the larger one."""
    turns = [name for name in acting if name != "rescaling"]
    by_change = {name: found.mechanism_change.sel(mechanism=name).item() for name in turns}
    turn = max(by_change, key=by_change.get, default=None)
    if "rescaling" not in acting or turn is None:
        return turn or (acting[0] if acting else None)
    parts = [abs(found[name].isel(time=-1).item()) for name in ("log_alignment", "log_rescaling")]
    return turn if parts[0] >= parts[1] else "rescaling"


def step_words(steps):
    """What steps of this size do."""
    diverged = steps.diverged_at.item()
    losses = steps.excess_loss.values
    if diverged >= 0:
        return {"outcome": "diverges", "diverged_at": diverged}
    if losses[-1] > 0.01 * losses[0]:
        return {"outcome": "cannot tell"}
    grown = losses.max() / losses[0]
    if grown <= 1 + 1e-9:
        return {"outcome": "settles"}
    return {"outcome": "catapult", "peak": int(losses.argmax()), "growth": grown}


def text():
    """The file."""
    return json.dumps(plain(views()), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")

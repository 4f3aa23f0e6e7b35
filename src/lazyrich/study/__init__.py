"""Study: data sets, networks, their training, and families of them as resumable sweeps.

The names load on first use, so that a worker process loads PyTorch only for experiments that do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazyrich.numerics.ladder import within
    from lazyrich.study.data.datasets import cifar10, digits, fashion_mnist, load, mnist
    from lazyrich.study.data.samples import DataSet, Samples, targets
    from lazyrich.study.exact import exact_solution, line_problem
    from lazyrich.study.experiment import Training
    from lazyrich.study.measured import measured_diagram
    from lazyrich.study.networks.catalogue import NETWORKS, cnn, fcn, resnet18, transformer, vgg11
    from lazyrich.study.networks.parametrisation import PARAMETRISATIONS, Parametrised, parametrise
    from lazyrich.study.refinement import Plane, Refined, level_curve, refine, sweep_refined
    from lazyrich.study.training.recipe import Outcome, Recipe
    from lazyrich.study.training.search import largest_stable_lr, lr_for_accuracy
    from lazyrich.study.training.task import accuracy, batches, loss_value
    from lazyrich.study.training.together import Member, pays, train_together
    from lazyrich.study.training.train import train
    from lazyrich.sweeps.describe.description import Study
    from lazyrich.sweeps.result import Result
    from lazyrich.sweeps.run.sweep import Summary, sweep
    from lazyrich.sweeps.store.export import export, table
    from lazyrich.sweeps.store.results import final, initial, results
    from lazyrich.sweeps.store.store import Store
    from lazyrich.vocabulary.losses import LossName

_HOME = {
    "NETWORKS": "lazyrich.study.networks.catalogue",
    "PARAMETRISATIONS": "lazyrich.study.networks.parametrisation",
    "DataSet": "lazyrich.study.data.samples",
    "LossName": "lazyrich.vocabulary.losses",
    "Member": "lazyrich.study.training.together",
    "Outcome": "lazyrich.study.training.recipe",
    "Parametrised": "lazyrich.study.networks.parametrisation",
    "Plane": "lazyrich.study.refinement",
    "Recipe": "lazyrich.study.training.recipe",
    "Refined": "lazyrich.study.refinement",
    "Result": "lazyrich.sweeps.result",
    "Samples": "lazyrich.study.data.samples",
    "Store": "lazyrich.sweeps.store.store",
    "Study": "lazyrich.sweeps.describe.description",
    "Summary": "lazyrich.sweeps.run.sweep",
    "Training": "lazyrich.study.experiment",
    "accuracy": "lazyrich.study.training.task",
    "batches": "lazyrich.study.training.task",
    "cifar10": "lazyrich.study.data.datasets",
    "cnn": "lazyrich.study.networks.catalogue",
    "digits": "lazyrich.study.data.datasets",
    "exact_solution": "lazyrich.study.exact",
    "export": "lazyrich.sweeps.store.export",
    "fashion_mnist": "lazyrich.study.data.datasets",
    "fcn": "lazyrich.study.networks.catalogue",
    "final": "lazyrich.sweeps.store.results",
    "initial": "lazyrich.sweeps.store.results",
    "largest_stable_lr": "lazyrich.study.training.search",
    "level_curve": "lazyrich.study.refinement",
    "line_problem": "lazyrich.study.exact",
    "load": "lazyrich.study.data.datasets",
    "loss_value": "lazyrich.study.training.task",
    "lr_for_accuracy": "lazyrich.study.training.search",
    "measured_diagram": "lazyrich.study.measured",
    "mnist": "lazyrich.study.data.datasets",
    "parametrise": "lazyrich.study.networks.parametrisation",
    "pays": "lazyrich.study.training.together",
    "refine": "lazyrich.study.refinement",
    "resnet18": "lazyrich.study.networks.catalogue",
    "results": "lazyrich.sweeps.store.results",
    "sweep": "lazyrich.sweeps.run.sweep",
    "sweep_refined": "lazyrich.study.refinement",
    "table": "lazyrich.sweeps.store.export",
    "targets": "lazyrich.study.data.samples",
    "train": "lazyrich.study.training.train",
    "train_together": "lazyrich.study.training.together",
    "transformer": "lazyrich.study.networks.catalogue",
    "vgg11": "lazyrich.study.networks.catalogue",
    "within": "lazyrich.numerics.ladder",
}

__all__ = [
    "NETWORKS",
    "PARAMETRISATIONS",
    "DataSet",
    "LossName",
    "Member",
    "Outcome",
    "Parametrised",
    "Plane",
    "Recipe",
    "Refined",
    "Result",
    "Samples",
    "Store",
    "Study",
    "Summary",
    "Training",
    "accuracy",
    "batches",
    "cifar10",
    "cnn",
    "digits",
    "exact_solution",
    "export",
    "fashion_mnist",
    "fcn",
    "final",
    "initial",
    "largest_stable_lr",
    "level_curve",
    "line_problem",
    "load",
    "loss_value",
    "lr_for_accuracy",
    "measured_diagram",
    "mnist",
    "parametrise",
    "pays",
    "refine",
    "resnet18",
    "results",
    "sweep",
    "sweep_refined",
    "table",
    "targets",
    "train",
    "train_together",
    "transformer",
    "vgg11",
    "within",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__

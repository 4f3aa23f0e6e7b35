"""Study: data sets, networks, training, and sweeps over families of trained networks."""

from lazyrich.study.datasets import cifar10, digits, fashion_mnist, load, mnist
from lazyrich.study.description import Study
from lazyrich.study.export import export, table
from lazyrich.study.measured import measured_diagram, width_exponents, within
from lazyrich.study.networks import NETWORKS, cnn, fcn, resnet18, transformer, vgg11
from lazyrich.study.own_theory import own_theory
from lazyrich.study.parametrisation import PARAMETRISATIONS, Parametrised, parametrise
from lazyrich.study.recipe import Outcome, Recipe
from lazyrich.study.refine import Plane, Refined, level_curve, refine, sweep_refined
from lazyrich.study.result import Result
from lazyrich.study.results import final, results
from lazyrich.study.samples import DataSet, LossName, Samples, targets
from lazyrich.study.store import Store
from lazyrich.study.sweep import sweep
from lazyrich.study.task import accuracy, batches, loss_value
from lazyrich.study.trained import Training
from lazyrich.study.training import train

__all__ = [
    "NETWORKS",
    "PARAMETRISATIONS",
    "DataSet",
    "LossName",
    "Outcome",
    "Parametrised",
    "Plane",
    "Recipe",
    "Refined",
    "Result",
    "Samples",
    "Store",
    "Study",
    "Training",
    "accuracy",
    "batches",
    "cifar10",
    "cnn",
    "digits",
    "export",
    "fashion_mnist",
    "fcn",
    "final",
    "level_curve",
    "load",
    "loss_value",
    "measured_diagram",
    "mnist",
    "own_theory",
    "parametrise",
    "refine",
    "resnet18",
    "results",
    "sweep",
    "sweep_refined",
    "table",
    "targets",
    "train",
    "transformer",
    "vgg11",
    "width_exponents",
    "within",
]

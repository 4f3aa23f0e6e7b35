"""Study: data sets, networks, training, and sweeps over families of trained networks."""

from lazyrich.study.datasets import cifar10, digits, fashion_mnist, load, mnist
from lazyrich.study.description import Study
from lazyrich.study.networks import NETWORKS, cnn, fcn, resnet18, transformer, vgg11
from lazyrich.study.parametrisation import PARAMETRISATIONS, Parametrised, parametrise
from lazyrich.study.recipe import Outcome, Recipe
from lazyrich.study.result import Result
from lazyrich.study.results import final, results
from lazyrich.study.samples import DataSet, LossName, Samples, targets
from lazyrich.study.store import Store
from lazyrich.study.sweep import sweep
from lazyrich.study.task import accuracy, batches, loss_value
from lazyrich.study.training import train

__all__ = [
    "NETWORKS",
    "PARAMETRISATIONS",
    "DataSet",
    "LossName",
    "Outcome",
    "Parametrised",
    "Recipe",
    "Result",
    "Samples",
    "Store",
    "Study",
    "accuracy",
    "batches",
    "cifar10",
    "cnn",
    "digits",
    "fashion_mnist",
    "fcn",
    "final",
    "load",
    "loss_value",
    "mnist",
    "parametrise",
    "resnet18",
    "results",
    "sweep",
    "targets",
    "train",
    "transformer",
    "vgg11",
]

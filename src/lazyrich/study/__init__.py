"""Study: data sets and small networks to try things on."""

from lazyrich.study.datasets import digits, fashion_mnist, load, mnist
from lazyrich.study.networks import NETWORKS, cnn, fcn, resnet18, transformer, vgg11
from lazyrich.study.parametrisation import PARAMETRISATIONS, Parametrised, parametrise
from lazyrich.study.samples import DataSet, LossName, Samples, targets

__all__ = [
    "NETWORKS",
    "PARAMETRISATIONS",
    "DataSet",
    "LossName",
    "Parametrised",
    "Samples",
    "cnn",
    "digits",
    "fashion_mnist",
    "fcn",
    "load",
    "mnist",
    "parametrise",
    "resnet18",
    "targets",
    "transformer",
    "vgg11",
]

"""Study: data sets and small networks to try things on."""

from lazyrich.study.datasets import digits, fashion_mnist, load, mnist
from lazyrich.study.networks import cnn, mlp, scaled, transformer
from lazyrich.study.samples import DataSet, LossName, Samples, targets

__all__ = [
    "DataSet",
    "LossName",
    "Samples",
    "cnn",
    "digits",
    "fashion_mnist",
    "load",
    "mlp",
    "mnist",
    "scaled",
    "targets",
    "transformer",
]

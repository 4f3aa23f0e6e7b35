"""Study: data sets and small networks to try things on."""

from lazyrich.study.datasets import Images, digits, fashion_mnist, mnist
from lazyrich.study.networks import cnn, mlp, scaled, transformer

__all__ = ["Images", "cnn", "digits", "fashion_mnist", "mlp", "mnist", "scaled", "transformer"]

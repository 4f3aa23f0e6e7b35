"""Study: data sets, networks, their training, and what families of them show.

The names load on first use, so that a worker process loads PyTorch only for experiments that do.
"""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)

"""Solve, measure, forecast and steer feature learning in neural networks.

The public names load on first use: `import lazyrich` alone costs nothing and needs no extra.
"""

from lazyrich._public import attach

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = attach(__name__, __file__)

"""The two-layer linear network `f(x) = γ U W x`, solved at any width (arXiv:2401.07085)."""

"""Phases, order parameters, mechanisms and phase diagrams of the exact theory."""

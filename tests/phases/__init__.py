"""Phases: what they claim, against sampling, brute numbers and limits."""

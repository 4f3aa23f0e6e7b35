"""The command line: its answers are those of Python, its refusals are one sentence."""

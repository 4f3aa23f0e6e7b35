"""`python -m lazyrich`."""

from lazyrich.cli import main

main()

"""Papers reproduced claim by claim; see README.md."""

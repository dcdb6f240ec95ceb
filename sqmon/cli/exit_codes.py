"""The exit codes of every command."""

OK = 0
FAILED = 1
"""A check failed or the world is wrong; one line on stderr says how."""
USAGE = 2
BUG = 3

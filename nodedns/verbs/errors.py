"""Why a verb failed, for cli.py to print."""


class Failed(Exception):
    """One line for the operator: what is wrong, where, what was expected, what to do next. Exit code 1."""

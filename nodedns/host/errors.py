"""The one error of this room."""


class ChangeError(Exception):
    """The machine cannot be changed as wanted: what, where, what to do."""

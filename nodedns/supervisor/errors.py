"""What can go wrong while starting."""


class HostError(Exception):
    """The machine does not give what the config asks for. One line: what, where, what to do."""

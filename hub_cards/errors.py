"""The two exceptions that a user is meant to read: a script prints their one line. All others keep their traceback."""


class BadInputError(Exception):
    """The user's input cannot be used: the message names the value, where it stands and what to do. Exit code 2."""


class StoppedError(Exception):
    """The run stopped before its end and kept what it has: the message says why and how to go on. Exit code 1."""

"""The one exception that a user is meant to read."""


class BadInputError(Exception):
    """The user's input cannot be used.

    The message is one line that names the value, where it stands and what to do; a script prints it and exits with
    code 2. Everything else that is raised is a defect of ours and keeps its traceback.
    """

"""The one error a user can cause."""


class InputError(ValueError):
    """Bad input from the user: the message is one line that names the file or option, what was found,
    what was expected and how to fix it. The command line prints it and exits with code 2."""

"""The error that a user can cause."""


class InputError(ValueError):
    """Bad input from the user: one line that says what was found, what was expected and how to fix it.

    Attributes:
        arguments: names of the arguments, as Python spells them, whose value is wrong or would help ("cycles"). The
            message itself names no command-line option: the command line adds the options of these arguments.
    """

    def __init__(self, message: str, *arguments: str) -> None:
        super().__init__(message)
        self.arguments = arguments

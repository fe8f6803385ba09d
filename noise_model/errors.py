"""What users are told, with the arguments that it is about: errors that they can cause, and notes."""

from typing import Self


class InputError(ValueError):
    """Bad input from the user: one line that says what was found, what was expected and how to fix it.

    Attributes:
        arguments: names of the arguments, as Python spells them, whose value is wrong or would help ("cycles"). The
            message itself names no command-line option: the command line adds the options of these arguments.
    """

    def __init__(self, message: str, *arguments: str) -> None:
        super().__init__(message)
        self.arguments = arguments


class Note(str):
    """A sentence that a user should read, such as what was assumed.

    Attributes:
        arguments: names of the arguments that would change what it says, as those of `InputError`.
    """

    arguments: tuple[str, ...]

    def __new__(cls, sentence: str, *arguments: str) -> Self:
        note = super().__new__(cls, sentence)
        note.arguments = arguments
        return note

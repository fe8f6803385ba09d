"""What users are told, with the arguments that it is about: errors that they can cause, and notes."""

import errno
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


#: What libraries say of memory that they do not get; each has an exception of its own, many a RuntimeError.
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc", "insufficient memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any library means that there is no memory left."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return not isinstance(error, InputError) and any(words in str(error).lower() for words in _NO_MEMORY)

"""Text from files and names, made safe to show and to write: names may hold bytes that are no text, or obeyed."""

import re

#: Control characters, line and paragraph separators, bidirectional controls, and surrogates, which stand for bytes of
#: names that are no text.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""Text on one line, with what a terminal would obey instead of show escaped, as in \x1b."""
    return _UNSAFE.sub(_escaped, text)


def encodable(text: str) -> str:
    r"""Text that every encoding of Unicode takes: bytes of names that are no text are escaped, as in \xe9."""
    return _SURROGATES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name, as Python keeps it
        code -= 0xDC00
    return _SHORT.get(character) or (rf"\x{code:02x}" if code < 0x100 else rf"\u{code:04x}")

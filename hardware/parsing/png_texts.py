"""What the text fields of PNG images of a Pi Imaging SPAD512 say of how they were taken.

Form, as the program of the SPAD512S writes it: Mode "Intensity 8 bit" or "Gated 8 bit", Integration time "50 ms". An
image of b bits is the sum of 2^b - 1 binary frames, which share the integration time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardware.settings import NOTHING_KNOWN, PartialSettings
from noise_model.errors import InputError

#: Bytes of a text, at most.
_LONGEST = 1 << 16

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9}

#: Fields that are kept as notes, with the names of the notes.
_NOTES = {
    "System": "description",
    "Serial number": "serial_number",
    "Software version": "software",
    "Mode": "mode",
    "Gate width": "gate_width",
    "Gate step size": "gate_step_size",
    "Gate offset": "gate_offset",
    "Laser frequency": "laser_frequency",
}


@dataclass(frozen=True)
class Said:
    """What the text fields of an image say.

    Attributes:
        taken: the fields that say how it was taken, as they stand: equal in images of one stack.
    """

    settings: PartialSettings = NOTHING_KNOWN
    notes: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


def text_of(kind: bytes, data: bytes) -> tuple[str, str] | None:
    """Key and text of a chunk, if it is one of text that is not compressed."""
    if kind not in (b"tEXt", b"iTXt") or len(data) > _LONGEST:
        return None
    key, _, rest = data.partition(b"\0")
    if kind == b"tEXt":
        return key.decode("latin-1"), rest.decode("latin-1")
    compressed, text = rest[:1] != b"\0", rest[2:].split(b"\0", 2)[-1]
    return None if compressed else (key.decode("latin-1"), text.decode("utf-8", "replace"))


def settings_of(path: Path, texts: Mapping[str, str]) -> Said:
    """The settings that the texts of an image tell, if a SPAD512 wrote them.

    Raises:
        InputError: they are beyond what a camera can have.
    """
    mode = re.search(r"([0-9]{1,2}) ?bit", texts.get("Mode", ""), re.IGNORECASE)
    if not texts.get("System", "").startswith("SPAD512") or mode is None:
        return Said()
    bits = int(mode[1])
    if not 1 <= bits <= 16:
        raise InputError(f"{path}: its text says {bits} bits; expected 1 to 16, copy it again")
    cycles = (1 << bits) - 1
    total = _time(texts.get("Integration time", ""))
    settings = PartialSettings.of(path, counter_bits=1, cycles=cycles, count_time=total and total / cycles)
    notes = {note: texts[key] for key, note in _NOTES.items() if texts.get(key)}
    started = _started(texts)
    return Said(
        settings,
        notes | ({"start_time": started} if started else {}),
        _remarks(texts),
        tuple(texts.get(key, "") for key in ("Mode", "Integration time", "Gate width") if texts.get(key)),
    )


def _time(text: str) -> float | None:
    """A time in s; None if it is none."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?) ?(\S+)", text.strip(), re.IGNORECASE)
    unit = _SECONDS.get(found[2]) if found else None
    return float(found[1]) * unit or None if found and unit else None


def _started(texts: Mapping[str, str]) -> str:
    """Date and time in ISO 8601; empty if the texts have none."""
    date = re.fullmatch(r"([0-9]{2})-([0-9]{2})-([0-9]{4})", texts.get("Date taken", ""))
    return f"{date[3]}-{date[2]}-{date[1]}T{texts.get('Time taken', '00:00:00')}" if date else ""


def _remarks(texts: Mapping[str, str]) -> tuple[str, ...]:
    if not texts.get("Mode", "").lower().startswith("gated"):
        return ()
    width, steps = texts.get("Gate width", "unknown width"), texts.get("Gate steps", "")
    positions = f"images are {steps} positions of a gate" if steps not in ("", "1") else "gated"
    return (f"{positions} ({width}), open for a part of the exposure only: rates are those of the whole exposure",)

"""The settings of a capture: what the file says, then what the user says, then what is assumed, in words."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardware.settings import PartialSettings, Settings, in_seconds
from noise_model.errors import InputError, Note

#: The MPD SPC3's live time of one frame and dead time, and the narrowest counter it is read with.
COUNT_TIME, DEAD_TIME, COUNTER_BITS = 10.4e-6, 50e-9, 8

#: Pixels with the largest count that make it a full one, at least.
ENOUGH_FULL = 8


@dataclass(frozen=True)
class Peak:
    """The largest count of a recording.

    Attributes:
        count: the largest count.
        pixels, below: how many pixels of all images have it, and one count less.
        largest_number: whether no larger number could be stored.
    """

    count: int
    pixels: int
    below: int
    largest_number: bool

    @property
    def full(self) -> bool:
        """Whether the count is that of saturated pixels: counts up to chance grow rarer towards the largest."""
        return self.pixels >= ENOUGH_FULL and (self.largest_number or self.pixels >= 2 * self.below)


def complete(
    path: Path, stated: PartialSettings, given: PartialSettings, usual: PartialSettings, peak: Callable[[], Peak]
) -> tuple[Settings, dict[str, str]]:
    """The settings of a capture, and a sentence for each that is assumed, by name.

    Args:
        stated: what the file says.
        given: what the user says.
        usual: the settings of most such files.
        peak: finds the largest count by reading the whole file; called only where nothing else tells the setting.

    Raises:
        InputError: the file and the user, or the file and itself, contradict each other.
    """
    known = _derived(_joined(path, stated, given))
    bits = known.counter_bits or usual.counter_bits or _likely_bits(known, peak)
    usual = usual if bits == usual.counter_bits else PartialSettings(count_time=usual.count_time)
    assumed = {
        "counter_bits": bits,
        "cycles": known.cycles or usual.cycles or _likely_cycles(bits, peak()),
        "dead_time": 0.0 if bits == 1 else usual.dead_time or DEAD_TIME,
        "count_time": usual.count_time or COUNT_TIME,
    }
    sentences = {name: _sentence(name, value, bits) for name, value in assumed.items() if name not in known.known()}
    full = PartialSettings.of(path, **assumed | known.known())
    return full.complete(path), {name: Note(sentence, name) for name, sentence in sentences.items() if sentence}


def _joined(path: Path, stated: PartialSettings, given: PartialSettings) -> PartialSettings:
    for name in stated.known().keys() & given.known().keys():
        ours, theirs = getattr(given, name), getattr(stated, name)
        if not math.isclose(theirs, ours, rel_tol=1e-6):
            wrong = f"the file says {name} = {theirs:g}, not {ours:g}; leave it to the file, or correct the file"
            raise InputError(f"{path}: {wrong}", name)
    return PartialSettings.model_validate(given.known() | stated.known())


def _derived(known: PartialSettings) -> PartialSettings:
    """Adds the cycles or the counter bits that the saturation value implies."""
    full, cycles, bits = known.saturation_value, known.cycles, known.counter_bits
    if full and bits and not cycles and full % (2**bits - 1) == 0:
        return known.model_copy(update={"cycles": full // (2**bits - 1)})
    if full and cycles and not bits and full % cycles == 0:
        bits = (full // cycles).bit_length()
        return known.model_copy(update={"counter_bits": bits}) if full == cycles * (2**bits - 1) else known
    return known


def _likely_bits(known: PartialSettings, peak: Callable[[], Peak]) -> int:
    """1, a binary array, unless there is a dead time, which counting arrays have."""
    if not known.dead_time:
        return 1
    return max(COUNTER_BITS, math.ceil(peak().count / (known.cycles or 1)).bit_length())


def _likely_cycles(bits: int, peak: Peak) -> int:
    """The fewest frames whose sum reaches the peak; for a binary array, the next power of two.

    Where pixels are saturated at a number of so many bits, it is the number of frames: cameras sum 2^b - 1 of them.
    """
    if bits > 1:
        return max(1, math.ceil(peak.count / ((1 << bits) - 1)))
    power = 1 << max(peak.count - 1, 0).bit_length()
    return peak.count if peak.count == power - 1 > 1 and peak.full else power


def _sentence(name: str, value: float, bits: int) -> str:
    if name == "counter_bits":
        return "binary array assumed" if value == 1 else f"{value}-bit counter assumed"
    if name == "cycles":
        return f"{value} hardware frame{'s' * (value > 1)} per image assumed"
    if name == "dead_time":
        return f"dead time of {in_seconds(value)} assumed" if bits > 1 else ""
    return f"exposure of {in_seconds(value)} per hardware frame assumed; rates scale with its inverse"

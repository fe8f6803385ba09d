"""Filling in how a capture was taken: what the file says, then what the user says, then stated assumptions."""

import math
from collections.abc import Callable
from pathlib import Path

from hardware.settings import Settings
from hardware.units import in_seconds
from noise_model.errors import InputError

#: The MPD SPC3's live time of one frame and hold-off, and the narrowest counter it is read with.
COUNT_TIME, DEAD_TIME, COUNTER_BITS = 10.4e-6, 50e-9, 8

OPTIONS = {"count_time": "--count-time", "cycles": "--cycles", "dead_time": "--dead-time", "counter_bits": "--bits"}


def complete(
    path: Path, said: Settings, given: Settings, usual: Settings, peak: Callable[[], int]
) -> tuple[Settings, dict[str, str]]:
    """Joins what the file says, what the user gives and what such files usually mean.

    Args:
        peak: finds the largest count of the file, by reading all of it; called only where nothing else tells.

    Returns:
        Settings with everything known but perhaps `frame_time`, and a sentence for every setting that is assumed.

    Raises:
        InputError: the file and the user, or the file and itself, contradict each other.
    """
    known = _derived(_joined(path, said, given))
    bits = known.counter_bits or usual.counter_bits or _likely_bits(known, peak)
    usual = usual if bits == usual.counter_bits else Settings(count_time=usual.count_time)
    assumed = {
        "counter_bits": bits,
        "cycles": known.cycles or usual.cycles or _likely_cycles(bits, peak()),
        "dead_time": 0.0 if bits == 1 else usual.dead_time or DEAD_TIME,
        "count_time": usual.count_time or COUNT_TIME,
    }
    sentences = {name: _sentence(name, value, bits) for name, value in assumed.items() if name not in known.known()}
    full = Settings.of(path, **assumed | known.known())
    return _with_saturation(path, full), {name: sentence for name, sentence in sentences.items() if sentence}


def _joined(path: Path, said: Settings, given: Settings) -> Settings:
    for name in said.known().keys() & given.known().keys():
        if not math.isclose(getattr(said, name), getattr(given, name), rel_tol=1e-6):
            raise InputError(
                f"{path}: the file says {name} = {getattr(said, name):g}, {OPTIONS[name]} says"
                f" {getattr(given, name):g}; leave the option out or correct the file"
            )
    return Settings.model_validate(given.known() | said.known())


def _derived(known: Settings) -> Settings:
    """Adds the cycles or the counter bits that the saturation value implies."""
    full, cycles, bits = known.saturation_value, known.cycles, known.counter_bits
    if full and bits and not cycles and full % (2**bits - 1) == 0:
        return known.model_copy(update={"cycles": full // (2**bits - 1)})
    if full and cycles and not bits and full % cycles == 0:
        bits = (full // cycles).bit_length()
        return known.model_copy(update={"counter_bits": bits}) if full == cycles * (2**bits - 1) else known
    return known


def _likely_bits(known: Settings, peak: Callable[[], int]) -> int:
    """A binary array, unless a dead time says that it counts."""
    if not known.dead_time:
        return 1
    return max(COUNTER_BITS, math.ceil(peak() / (known.cycles or 1)).bit_length())


def _likely_cycles(bits: int, peak: int) -> int:
    """A counter that holds the peak read once; of a binary array, the smallest power of two that holds it."""
    if bits > 1:
        return max(1, math.ceil(peak / ((1 << bits) - 1)))
    return 1 << max(peak - 1, 0).bit_length()


def _with_saturation(path: Path, full: Settings) -> Settings:
    largest = (full.cycles or 1) * ((1 << (full.counter_bits or 1)) - 1)
    if (full.saturation_value or 0) > largest:
        raise InputError(
            f"{path}: saturation_value {full.saturation_value} is more than {full.cycles} cycles of a"
            f" {full.counter_bits}-bit counter can hold ({largest}); correct the file"
        )
    return Settings.of(path, **{"saturation_value": largest} | full.known())


def _sentence(name: str, value: float, bits: int) -> str:
    if name == "counter_bits":
        return "binary array assumed (else --bits)" if value == 1 else f"{value}-bit counter assumed (--bits)"
    if name == "cycles":
        return f"{value} hardware frame{'s' * (value > 1)} per image assumed (--cycles)"
    if name == "dead_time":
        return f"dead time of {in_seconds(value)} assumed (--dead-time)" if bits > 1 else ""
    return f"exposure of {in_seconds(value)} per hardware frame assumed (--count-time); rates scale with its inverse"

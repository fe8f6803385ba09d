"""Numbers with their units, for people."""


def in_seconds(value: float) -> str:
    """A time with its prefix, as 10.4 us."""
    if value == 0:
        return "0 s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value / 1e-9:.4g} ns"

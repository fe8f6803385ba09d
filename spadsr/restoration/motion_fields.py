"""What files hold of the motion that was followed in images: fields of numbers, an entry for each image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spadsr.motion.motion import WAYS, Change, Motion, Path, Verdict

#: Where results and merged recordings hold them, and the note by which these say what they were merged from.
MOTION, MERGED_FROM = "/entry/process/motion", "merged_from"

_NUMBERS = ("gain", "chi_squared_still", "chi_squared")

#: The fields, and what they hold of each image; G parts of it were followed.
FIELDS = {
    "followed": "what was followed: " + ", ".join(f"{number} {way}" for number, way in enumerate(WAYS[:-1])),
    "change": "(4,) how much the scene changes within the image: standard errors above chance and share of the counts,"
    " of all changes; standard errors and rms shift in native pixels, of shifts and turns of the whole scene",
    "time": "(G,) the middle of each part of the image, in units of its duration, 0 at its centre",
    "shift": "(G, 2) where the array looked in each part, native pixels: rows down, columns right",
    "shift_sd": "(G, 2) standard deviations of shift",
    "angle": "(G,) how far the array was turned about its centre in each part, radians",
    "angle_sd": "(G,) standard deviation of angle",
    "used": "(G,) 1 for parts that were merged, 0 for those that were left out",
    "gain": "log likelihood of the counts along the path over that at rest; NaN where no path was looked for",
    "chi_squared_still": "chi-squared of sums over 5 x 5 pixels of each part, were the scene at rest: about 1 if it is",
    "chi_squared": "the same, along the path",
    "unknown": "directions along which the scene has no features that tell shifts",
    "repeats": "1 where the scene repeats, so that a path that is off by a period explains the counts as well",
    "hot": "(H, W) 1 for pixels that stood still while the scene moved: left out",
    "velocity": "(2, H, W) motion of its own that each native pixel was followed along, native pixels down and right"
    " over the image's duration",
}


def fields_of(motion: Sequence[Motion], shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """The fields of n images of `shape` native pixels, each of as many parts."""
    rows = [_fields(each, shape) for each in motion]
    return {name: np.stack([row[name] for row in rows]) for name in FIELDS}


def _fields(motion: Motion, shape: tuple[int, int]) -> dict[str, Any]:
    path, verdict = motion.path, motion.verdict
    none, still = np.zeros(shape, np.uint8), np.zeros((2, *shape), np.float32)
    numbers = (np.nan,) * 3 if verdict is None else (verdict.gain, verdict.chi_squared_still, verdict.chi_squared)
    return {
        "followed": np.uint8(WAYS.index(motion.followed)),
        "change": np.array(list(vars(motion.change).values())),
        "time": motion.times,
        "shift": path.poses[:, :2],
        "shift_sd": path.sd[:, :2],
        "angle": path.poses[:, 2],
        "angle_sd": path.sd[:, 2],
        "used": np.ones(len(motion.times), np.uint8) if verdict is None else verdict.used.astype(np.uint8),
        **{name: np.float64(value) for name, value in zip(_NUMBERS, numbers, strict=True)},
        "unknown": np.uint8(0 if verdict is None else verdict.unknown),
        "repeats": np.uint8(verdict is not None and verdict.repeats),
        "hot": none if verdict is None else verdict.hot.astype(np.uint8),
        "velocity": still if motion.velocity is None else motion.velocity,
    }


def motion_of(fields: Mapping[str, NDArray[Any]]) -> tuple[Motion, ...]:
    """How the scenes of images moved, by their fields."""
    rows = ({name: values[image] for name, values in fields.items()} for image in range(len(fields["time"])))
    return tuple(
        Motion(
            change=Change(*map(float, row["change"])),
            followed=WAYS[min(int(row["followed"]), len(WAYS) - 1)],
            times=row["time"],
            verdict=None if np.isnan(row["chi_squared"]) else _verdict(row),
            velocity=row["velocity"] if row["velocity"].any() else None,
        )
        for row in rows
    )


def _verdict(row: Mapping[str, Any]) -> Verdict:
    poses, sd = (
        np.concatenate([row[shift], row[angle][:, None]], axis=1)
        for shift, angle in (("shift", "angle"), ("shift_sd", "angle_sd"))
    )
    return Verdict(
        path=Path(poses, sd, np.ones(len(poses))),
        **{name: float(row[name]) for name in _NUMBERS},
        unknown=int(row["unknown"]),
        used=row["used"] > 0,
        repeats=bool(row["repeats"]),
        hot=row["hot"] > 0,
    )

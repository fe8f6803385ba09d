"""What files hold of the motion that was followed in images: fields of numbers, an entry for each image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spadsr.motion.changes import Change
from spadsr.motion.following import WAYS, Motion

#: Where results and merged recordings hold them, and the note by which these say what they were merged from.
MOTION, MERGED_FROM = "/entry/process/motion", "merged_from"

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
    "chi_squared_still": "chi-squared of sums over 5 x 5 pixels of each part, were the scene at rest: about 1 if it is",
    "chi_squared": "the same, along the path; NaN where no path was looked for",
    "velocity": "(2, H, W) motion of its own that each native pixel was followed along, native pixels down and right"
    " over the image's duration",
}


def fields_of(motion: Sequence[Motion], shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """The fields of n images of `shape` native pixels, each of as many parts."""
    poses, sd = (np.stack([getattr(each, name) for each in motion]) for name in ("poses", "sd"))
    still = np.zeros((2, *shape), np.float32)
    velocity = [still if each.velocity is None else each.velocity for each in motion]
    return {
        "followed": np.array([WAYS.index(each.followed) for each in motion], np.uint8),
        "change": np.array([list(vars(each.change).values()) for each in motion]),
        "time": np.stack([each.times for each in motion]),
        "shift": poses[..., :2],
        "shift_sd": sd[..., :2],
        "angle": poses[..., 2],
        "angle_sd": sd[..., 2],
        "used": np.stack([each.used for each in motion]).astype(np.uint8),
        "chi_squared_still": np.array([each.chi_squared_still for each in motion]),
        "chi_squared": np.array([each.chi_squared for each in motion]),
        "velocity": np.stack(velocity).astype(np.float32),
    }


def motion_of(fields: Mapping[str, NDArray[Any]]) -> tuple[Motion, ...]:
    """How the scenes of images moved, by their fields.

    Raises:
        ValueError: the fields do not belong together.
    """
    shift, angle, shift_sd, angle_sd = (fields[name] for name in ("shift", "angle", "shift_sd", "angle_sd"))
    return tuple(
        Motion(
            change=Change(*map(float, fields["change"][image])),
            followed=WAYS[min(int(fields["followed"][image]), len(WAYS) - 1)],
            times=fields["time"][image],
            poses=np.concatenate([shift[image], angle[image][:, None]], axis=1),
            sd=np.concatenate([shift_sd[image], angle_sd[image][:, None]], axis=1),
            used=fields["used"][image] > 0,
            chi_squared_still=float(fields["chi_squared_still"][image]),
            chi_squared=float(fields["chi_squared"][image]),
            velocity=fields["velocity"][image] if fields["velocity"][image].any() else None,
        )
        for image in range(len(shift))
    )

"""Moving photographs, merged along their paths and restored, beside what sums of fewer frames give at best.

    python tests/spadsr/motion_figures.py CASE... [--white 0.02,0.05,0.2] [--only 0,1] [--weights FILE]

prints PSNR at x4 (dB), a line for each sequence and their means. Of 2,048 frames of 64x32 pixels in blocks of 16, the
truth is the scene at the central instant; 5 native pixels of border are left out, 2 where parts of the scene move. The
best window is that of 64 to 2,048 central frames with the highest PSNR: chosen with the truth, of each sequence.
The photographs are those of `data/eval` in the folder of recordings and pictures beside the checkout.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from moving_scenes import (
    BLOCKS,
    FINE,
    FRAMES,
    MARGIN,
    SHAPE,
    binary_array,
    counted,
    counting_array,
    drift,
    seen_along,
    shake,
)

from noise_model.arrays import Floats, Picture
from noise_model.sensor import USER, Sensor
from spadsr.evaluation.metrics import psnr
from spadsr.motion.blocks import Blocks
from spadsr.motion.fine import sharpened
from spadsr.motion.following import path_verdict
from spadsr.motion.kernels import Seen
from spadsr.motion.merging import Merged, merge
from spadsr.motion.motion import Verdict
from spadsr.motion.seen import seen_of
from spadsr.motion.sweep import find_lines, gather
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

PICTURES = Path(__file__).parents[3] / "shared" / "data" / "eval"
NAMES = ("Kodak24_kodim08", "DIV2Kvalid256_0867", "Set12_01", "Set5_butterfly", "Urban100_033")
TIMES = (np.arange(BLOCKS) + 0.5) / BLOCKS - 0.5
WINDOWS = (4, 8, 16, 32, 64)  # blocks
PERIODS = (4, 2.5, 1.75, 1.5, 1.25)  # native pixels


@dataclass(frozen=True, eq=False)
class Sequence:
    """A scene that moves: light (G, H, W) of white 1, its truth at x4 and, where all moves alike, its path (G, 3)."""

    light: Picture
    truth: Picture
    sensor: Sensor
    seed: int
    path: Floats | None = None
    reach: tuple[int, int] = (0, 0)
    frames: int = FRAMES
    kept: tuple[int, ...] = tuple(range(BLOCKS))
    known: bool = True
    most: float = np.inf


def photograph(name: str) -> Picture:
    """A photograph, 0 to 1, of the field and the margin around it."""
    whole = cv2.imread(str(next(PICTURES.glob(f"{name}.*"))), cv2.IMREAD_GRAYSCALE)
    assert whole is not None
    picture = whole.astype(np.float32) / 255
    if min(picture.shape) > 512:
        picture = cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)
    wanted = [size * FINE + 2 * MARGIN for size in SHAPE]
    for axis, size in enumerate(wanted):
        first = max(0, (picture.shape[axis] - size) // 2)
        picture = picture.take(range(first, min(first + size, picture.shape[axis])), axis)
    rows, columns = (size - have for size, have in zip(wanted, picture.shape, strict=True))
    sides = rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
    return np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_REFLECT_101), np.float32)


def along(picture: int, number: int, path: Floats, **others: object) -> Sequence:
    """A photograph seen along a path; `number` and `picture` make the seed of the counts."""
    scene = photograph(NAMES[picture])
    found = Sequence(
        seen_along(scene, path),
        scene[MARGIN:-MARGIN, MARGIN:-MARGIN],
        binary_array(picture),
        1000 * picture + number,
        path,
    )
    return replace(found, **others)  # type: ignore[arg-type]


def drifting(picture: int) -> Floats:
    angle = np.random.default_rng(100 * picture + 2).uniform(0, 2 * np.pi)
    return drift(8 * np.sin(angle), 8 * np.cos(angle), 0)


def at_rest(picture: int) -> Sequence:
    return along(picture, 4, drift(0, 0, 0), seed=7 * picture + 1)


def flat(picture: int) -> Sequence:
    found = along(picture, 5, shake(4, picture))
    return replace(found, light=np.full_like(found.light, 0.5), truth=np.full_like(found.truth, 0.5))


def dead(picture: int) -> Sequence:
    """A quarter of the pixels dead at random."""
    found = along(picture, 6, shake(4, 9))
    lost = torch.from_numpy(np.random.default_rng(1).random(SHAPE) < 0.25).int() * USER
    mask = found.sensor.pixel_mask
    assert mask is not None
    return replace(found, sensor=replace(found.sensor, pixel_mask=mask | lost))


def counting(picture: int) -> Sequence:
    """A counting array with a dead time of a 17.5th of the frame, 128 frames; white is its mean counts."""
    return along(picture, 7, shake(4, 100 * picture), sensor=counting_array(picture), frames=1)


def unknown(picture: int) -> Sequence:
    """As `shake4`, of a sensor of which only the kind is known: nothing is masked, and its maps are not told."""
    return along(picture, 0, shake(4, 100 * picture), known=False)


def flickering(picture: int) -> Sequence:
    found = along(picture, 8, shake(4, 100 * picture))
    bright = np.random.default_rng(picture).uniform(0.8, 1.2, BLOCKS).astype(np.float32)
    return replace(found, light=found.light * (bright / bright.mean())[:, None, None])


def dropped(picture: int) -> Sequence:
    """Blocks that the recording lacks: 20 in a row, and every tenth."""
    kept = [block for block in range(BLOCKS) if block % 10 and not 30 <= block < 50]
    return along(picture, 0, shake(4, 100 * picture), kept=tuple(kept))


def saturated(picture: int) -> Sequence:
    """A tenth of the scene 50 times as bright: at white 0.2 nearly every frame detects. Beyond white all is alike."""
    scene = photograph(NAMES[picture])
    scene = np.where(scene > np.quantile(scene, 0.9), 50, 1).astype(np.float32) * scene
    path = shake(4, 100 * picture)
    found = along(picture, 9, path, light=seen_along(scene, path), most=1.0)
    return replace(found, truth=np.minimum(scene[MARGIN:-MARGIN, MARGIN:-MARGIN], 1))


def crossed(picture: int) -> Sequence:
    """An ellipse with another photograph's texture crosses a photograph at rest."""
    name, length = ("Set12_01", "Kodak24_kodim08", "Urban100_033")[picture], 12 * FINE
    scene, other = photograph(name)[MARGIN:-MARGIN, MARGIN:-MARGIN], photograph("Set12_04")
    height, width = scene.shape
    row, column = np.mgrid[:height, :width].astype(np.float32)

    def frame(time: float) -> Picture:
        down, right = 0.3 * length * time, length * time
        distance = np.hypot(
            (row + 0.5 - height / 2 - down) / (13 * FINE), (column + 0.5 - width / 2 - right) / (7 * FINE)
        )
        cover = np.clip((1 - distance) * 7 * FINE + 0.5, 0, 1)
        place = (each.astype(np.float32) for each in (column + MARGIN - right, row + MARGIN - down))
        texture = cv2.remap(other, *place, cv2.INTER_LINEAR)
        return np.asarray((1 - cover) * scene + cover * texture, np.float32)

    return Sequence(_native(frame), frame(0.0), binary_array(5), 5, reach=(10, 14))


def flowing(picture: int) -> Sequence:
    """Discs that flow down a channel, by 20 native pixels in its middle and less beside."""
    seed, (height, width) = 5 + picture, (SHAPE[0] * FINE, SHAPE[1] * FINE)
    rng, ground = np.random.default_rng(seed), np.full((height, width), 0.12, np.float32)
    ground[:, :6] = ground[:, -6:] = 0.5
    discs = []
    for _ in range(40):
        across = rng.uniform(16, width - 16)
        speed = 20 * (1 - 0.8 * (2 * across / width - 1) ** 2)
        discs.append((rng.uniform(0, height + 80), across, rng.uniform(5, 11), speed, rng.uniform(0.4, 1)))
    row, column = np.mgrid[:height, :width] + 0.5

    def frame(time: float) -> Picture:
        picture = ground.copy()
        for start, across, radius, speed, bright in discs:
            distance = np.hypot(row - (start + speed * time * FINE) % (height + 80) + 40, column - across)
            cover = np.clip(radius + 0.5 - distance, 0, 1)
            rim = bright * (0.65 + 0.35 * np.clip((distance / radius - 0.5) * 4, 0, 1))
            picture = picture * (1 - cover) + cover * rim
        return np.asarray(picture, np.float32)

    return Sequence(_native(frame), frame(0.0), binary_array(seed), seed, reach=(24, 4))


def _native(frame: Callable[[float], Picture]) -> Picture:
    height, width = SHAPE
    return np.stack([frame(time).reshape(height, FINE, width, FINE).mean(axis=(1, 3)) for time in TIMES])


CASES: dict[str, Callable[[int], Sequence]] = {
    "shake4": lambda picture: along(picture, 0, shake(4, 100 * picture)),
    "shake8": lambda picture: along(picture, 1, shake(8, 100 * picture + 1)),
    "drift8": lambda picture: along(picture, 2, drifting(picture)),
    "rotation": lambda picture: along(picture, 3, drift(0, 0, np.radians(20))),
    "rest": at_rest,
    "flat": flat,
    "dead": dead,
    "counting": counting,
    "unknown": unknown,
    "flicker": flickering,
    "dropped": dropped,
    "saturated": saturated,
    "object": crossed,
    "discs": flowing,
}


@dataclass(frozen=True)
class Figures:
    """PSNR, dB, of the scene at rest, of the full sum, of the best window, of merged counts and of these with detail.

    Attributes:
        covered: share of the pixels of the last of them that are within one uncertainty of the truth.
        error: of the path, rms, native pixels.
    """

    rest: float
    full: float
    best: float
    merged: float
    fine: float
    covered: float
    error: float
    moves: bool
    local: bool


def measured(sequence: Sequence, white: float, restorer: Restorer) -> Figures:
    sensor = sequence.sensor if sequence.known else _unknown(sequence.sensor)
    blocks = _told(counted(sequence.light, white, _unmasked(sequence), sequence.seed, sequence.frames), sensor)
    resting = _truth_at_native(sequence)
    still = _told(counted(resting, white, _unmasked(sequence), sequence.seed + 1, sequence.frames), sensor)
    blocks = blocks.only(np.array(sequence.kept))
    peak, border = -np.log1p(-white) if sensor.binary else white, FINE * (5 if sequence.path is not None else 2)

    inner = (slice(border, -border),) * 2

    def quality(light: Picture) -> float:
        return psnr(np.minimum(light[inner] / peak, sequence.most), sequence.truth[inner])

    def summed(some: Blocks) -> float:
        return quality(restored(merge(some, np.zeros((len(some), 3))), restorer)[0])

    full = summed(blocks)
    best = max(full, *(summed(blocks.only(np.abs(blocks.times) < width / 2 / BLOCKS)) for width in WINDOWS))
    merged, fine, verdict = followed(blocks, sequence.reach, restorer)
    light, sd = restored(merged, restorer)
    finer = light if fine is None else sharpened(light, sd, fine)
    error = np.nan
    if sequence.path is not None:
        off = verdict.path.poses - sequence.path[list(sequence.kept)]
        error = float(np.sqrt(np.square(off)[:, :2].mean()))
    covered = float((np.abs(finer - sequence.truth * peak) < sd)[inner].mean())
    said = verdict.moves, verdict.local
    return Figures(summed(still), full, best, quality(light), quality(finer), covered, error, *said)


def followed(blocks: Blocks, reach: tuple[int, int], restorer: Restorer) -> tuple[Merged, Merged | None, Verdict]:
    """Blocks merged along the path that their counts tell, on pixels and on cells; local motion up to `reach`."""

    def painted(some: Blocks, poses: Floats) -> Seen:
        return seen_of(restored(merge(some, poses), restorer)[0], FINE)

    verdict = path_verdict(blocks, painter=painted)
    poses, used = verdict.path.poses, verdict.used
    blocks = blocks.without(verdict.hot)
    if reach != (0, 0):
        known = poses if verdict.moves else None
        return gather(blocks, find_lines(blocks, reach, known), known), None, verdict
    merged, fine = (merge(blocks.only(used), poses[used], scale) for scale in (1, FINE))
    return merged, fine if verdict.moves else None, verdict


def restored(merged: Merged, restorer: Restorer) -> tuple[Picture, Picture]:
    """Restored light of a frame (4 H, 4 W), and its standard uncertainty."""
    rate, sd, _ = restorer.answer(torch.from_numpy(merged.counts.astype(np.int64))[None], merged.model, FINE)
    return np.asarray(rate[0].numpy() * merged.count_time), np.asarray(sd[0].numpy() * merged.count_time)


def _truth_at_native(sequence: Sequence) -> Picture:
    height, width = SHAPE
    native = sequence.truth.reshape(height, FINE, width, FINE).mean(axis=(1, 3))
    return np.repeat(native[None], BLOCKS, axis=0)


def _unmasked(sequence: Sequence) -> Sensor:
    return replace(sequence.sensor, pixel_mask=None)


def _unknown(sensor: Sensor) -> Sensor:
    return replace(sensor.uniform(SHAPE), dark_count_rate=torch.zeros(SHAPE), pixel_mask=None, measured=False)


def _told(blocks: Blocks, sensor: Sensor) -> Blocks:
    return replace(blocks, sensor=sensor)


def bars(white: float, restorer: Restorer) -> Iterator[str]:
    """How much of bars finer than pixels is there, and of the coarse ones that pixels take them for; a line a period.

    Bands of bars across the columns, with dots beside them: a path over bars alone is not known along them. Bars that
    pixels take for coarser ones seem to move against the scene, some bands more than others: as if the array turned.
    """
    size = [side * FINE + 2 * MARGIN for side in SHAPE]
    scene, height = np.empty(size, np.float32), SHAPE[0] * FINE / len(PERIODS)
    column, bands = np.arange(size[1]) + 0.5 - MARGIN, []
    for number, period in enumerate(PERIODS):
        first, last = (MARGIN + int(height * each) for each in (number, number + 1))
        scene[first:last] = 0.5 + 0.45 * np.sin(2 * np.pi * column / (period * FINE))
        bands.append((first, last))
    scene[:MARGIN], scene[-MARGIN:] = scene[MARGIN], scene[-MARGIN - 1]
    rng = np.random.default_rng(0)
    for _ in range(40):
        centre = rng.uniform(0, size)
        if not any(first + 4 < centre[0] < last - 4 for first, last in bands):
            cv2.circle(scene, (round(centre[1]), round(centre[0])), 4, 1.0, -1, cv2.LINE_AA)
    sensor, path, peak = binary_array(2), shake(4, 4), -np.log1p(-white)
    blocks = counted(seen_along(scene, path), white, sensor, 3)
    still = counted(seen_along(scene, 0 * path), white, sensor, 4)
    merged, fine, _ = followed(blocks, (0, 0), restorer)
    assert fine is not None
    light, sd = restored(merged, restorer)
    pictures = restored(merge(still, 0 * path), restorer)[0], light, sharpened(light, sd, fine)
    inner = slice(4 * FINE, -4 * FINE)
    for period, (first, last) in zip(PERIODS, bands, strict=True):
        rows = [each[first - MARGIN + 10 : last - MARGIN - 10, inner].mean(axis=0) / peak for each in pictures]
        waves = [np.exp(2j * np.pi * column[MARGIN:-MARGIN][inner] * f / FINE) for f in (1 / period, 1 - 1 / period)]
        told = [[2 * abs(((row - row.mean()) * wave).mean()) / 0.45 for wave in waves] for row in rows]
        said = "  ".join(f"{true:.2f} ({false:.2f})" for true, false in told)
        yield f"bars of {period} native pixels, white {white:g}: at rest, merged, and detail  {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", choices=[*CASES, "bars"])
    parser.add_argument("--white", default="0.02,0.05,0.2")
    parser.add_argument("--only", help="of the pictures, by number; comma-separated")
    parser.add_argument("--weights")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    restorer = load_restorer(asked.weights)
    print(
        "case        white picture  at rest  full sum  best window  merged  and detail  least gain  covered"
        "  path error  verdict"
    )
    for case in asked.cases:
        if case == "bars":
            print(*(line for white in asked.white.split(",") for line in bars(float(white), restorer)), sep="\n")
            continue
        number = 3 if case in ("object", "discs") else len(NAMES)
        pictures = range(number) if asked.only is None else [int(each) for each in asked.only.split(",")]
        for white in map(float, asked.white.split(",")):
            found = []
            for picture in pictures:
                found.append(measured(CASES[case](picture), white, restorer))
                _print(case, white, str(picture), found[-1:])
            _print(case, white, "mean", found)


def _print(case: str, white: float, picture: str, found: list[Figures]) -> None:
    rows = [(f.rest, f.full, f.best, f.merged, f.fine, f.covered, f.error) for f in found]
    rest, full, best, merged, fine, covered, error = np.mean(rows, axis=0)
    least = min(f.fine - f.best for f in found)
    said = f"moves {sum(f.moves for f in found)} local {sum(f.local for f in found)} of {len(found)}"
    print(
        f"{case:<11} {white:5g} {picture:<7} {rest:8.2f} {full:9.2f} {best:12.2f} {merged:7.2f} {fine:11.2f}"
        f" {least:+11.2f} {covered:9.1%} {error:11.2f}  {said}",
        flush=True,
    )


if __name__ == "__main__":
    main()

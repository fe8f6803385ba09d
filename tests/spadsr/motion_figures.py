"""Moving photographs, restored along their motion by `spadsr.restore`, beside what sums of fewer frames give at best.

    python tests/spadsr/motion_figures.py CASE... [--white 0.02,0.05,0.2] [--only 0,1] [--weights FILE]

prints PSNR at x4 (dB), a line for each sequence and their means. Of 2,048 frames of 64x32 pixels in images of 16, the
truth is the scene at the central instant; 5 native pixels of border are left out, 2 where parts of the scene move. The
best window is that of 64 to 2,048 central frames with the highest PSNR: chosen with the truth, of each sequence.
Shares of pixels are those whose truth lies within one uncertainty: at rest, and along the motion.
The photographs are those of `data/eval` in the folder of recordings and pictures beside the checkout.
"""

import argparse
from collections import Counter
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
    SECONDS,
    SHAPE,
    binary_array,
    counted,
    counting_array,
    drift,
    seen_along,
    shake,
)

import spadsr
from hardware.captures.in_memory import capture_in_memory
from hardware.settings import Settings
from noise_model.arrays import Counts, Floats, Picture
from noise_model.sensor import USER, Sensor
from spadsr.evaluation.metrics import psnr
from spadsr.restoration.restored import Restored
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
    """Images that the recording lacks, without a word: 20 in a row, and every tenth. The truth is their middle."""
    kept = [block for block in range(BLOCKS) if block % 10 and not 30 <= block < 50]
    path = shake(4, 100 * picture)
    middle = path[kept[len(kept) // 2]]
    return along(picture, 0, path - middle, kept=tuple(kept))


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

    return Sequence(_native(frame), frame(0.0), binary_array(5), 5)


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

    return Sequence(_native(frame), frame(0.0), binary_array(seed), seed)


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
    """PSNR, dB, of the scene at rest, of the full sum, of the best window, and of the sum along its motion.

    Attributes:
        covered_at_rest, covered: share of the pixels that are within one uncertainty of the truth.
        error: of the path, rms, native pixels.
        followed: what was followed.
    """

    rest: float
    full: float
    best: float
    along: float
    covered_at_rest: float
    covered: float
    error: float
    followed: str


def measured(sequence: Sequence, white: float, restorer: Restorer) -> Figures:
    images = _images(sequence, sequence.light, white, sequence.seed)[list(sequence.kept)]
    resting = _images(sequence, _truth_at_native(sequence), white, sequence.seed + 1)
    peak, border = _peak(white, sequence.sensor), FINE * (5 if sequence.path is not None else 2)
    inner = (slice(border, -border),) * 2

    def quality(restored: Restored) -> float:
        light = restored.rate[inner] * SECONDS / peak
        return psnr(np.minimum(light, sequence.most), sequence.truth[inner])

    def covered(restored: Restored) -> float:
        off = np.abs(restored.rate * SECONDS - sequence.truth * peak) < restored.uncertainty * SECONDS
        return float(off[inner].mean())

    def summed(some: Counts) -> float:
        return quality(restored_of(sequence, some, restorer))

    full, middle = summed(images), len(images) // 2
    best = max(full, *(summed(images[middle - width // 2 : middle + width // 2]) for width in WINDOWS))
    still, along = restored_of(sequence, resting, restorer), restored_of(sequence, images, restorer, "auto")
    [motion], error = along.motion, np.nan
    if sequence.path is not None:
        off = motion.path.poses - sequence.path[list(sequence.kept)]
        error = float(np.sqrt(np.square(off)[:, :2].mean()))
    return Figures(quality(still), full, best, quality(along), covered(still), covered(along), error, motion.followed)


def restored_of(sequence: Sequence, images: Counts, restorer: Restorer, motion: str = "none") -> Restored:
    """The sum of images, restored x4 as a user does, who knows the sensor or only its kind."""
    sensor = sequence.sensor
    settings = Settings(SECONDS, sequence.frames, dead_time=sensor.dead_time, counter_bits=sensor.counter_bits)
    capture = capture_in_memory(Path("run.h5"), images, settings, None)
    known = sensor if sequence.known else None
    return spadsr.restore(capture, sensor=known, sum=len(images), motion=motion, weights=restorer)


def _images(sequence: Sequence, light: Picture, white: float, seed: int) -> Counts:
    """Counts of some light, of masked pixels as well."""
    sensor = replace(sequence.sensor, pixel_mask=None)
    return counted(light, white, sensor, seed, sequence.frames).counts.astype(np.uint16)


def _peak(white: float, sensor: Sensor) -> float:
    """The light of white, in a frame."""
    return float(-np.log1p(-white)) if sensor.binary else white


def _truth_at_native(sequence: Sequence) -> Picture:
    height, width = SHAPE
    native = sequence.truth.reshape(height, FINE, width, FINE).mean(axis=(1, 3))
    return np.repeat(native[None], BLOCKS, axis=0)


def background(white: float, restorer: Restorer) -> Iterator[str]:
    """How the ground of `object` is restored that its object never comes near, beside the full sum; a line a scene."""
    for picture in range(3):
        sequence, peak = crossed(picture), _peak(white, binary_array(5))
        images = _images(sequence, sequence.light, white, sequence.seed)
        moved = np.ptp(sequence.light, axis=0) > 1e-6
        near = cv2.dilate(moved.astype(np.uint8), np.ones((9, 9), np.uint8))
        far = np.kron(near == 0, np.ones((FINE, FINE))) > 0
        far[: 2 * FINE] = far[-2 * FINE :] = far[:, : 2 * FINE] = far[:, -2 * FINE :] = False
        said = []
        for motion in ("none", "auto"):
            light = restored_of(sequence, images, restorer, motion).rate * SECONDS / peak
            said.append(psnr(light[far][None], sequence.truth[far][None]))
        share = f"{far.mean():.0%} of the field"
        yield f"background  {white:5g} {picture}: full sum {said[0]:.2f}, along the motion {said[1]:.2f}, of {share}"


def bars(white: float, restorer: Restorer) -> Iterator[str]:
    """How much of bars finer than pixels is there, and of the coarse ones that pixels take them for; a line a period.

    Bands of bars across the columns, with dots beside them: a path over bars alone is not known along them. Bars that
    pixels take for coarser ones seem to move against the scene, some bands more than others: as if the array turned.
    """
    scene, bands = _chart()
    path = shake(4, 4)
    sequence = Sequence(seen_along(scene, path), scene[MARGIN:-MARGIN, MARGIN:-MARGIN], binary_array(2), 3, path)
    still = replace(sequence, light=seen_along(scene, 0 * path), seed=4)
    lights = [
        restored_of(each, _images(each, each.light, white, each.seed), restorer, "auto").rate * SECONDS
        for each in (still, sequence)
    ]
    column, inner = np.arange(SHAPE[1] * FINE) + 0.5, slice(4 * FINE, -4 * FINE)
    for period, (first, last) in zip(PERIODS, bands, strict=True):
        rows = [each[first + 10 : last - 10, inner].mean(axis=0) / _peak(white, sequence.sensor) for each in lights]
        waves = [np.exp(2j * np.pi * column[inner] * f / FINE) for f in (1 / period, 1 - 1 / period)]
        told = [[2 * abs(((row - row.mean()) * wave).mean()) / 0.45 for wave in waves] for row in rows]
        said = "  ".join(f"{true:.3f} ({false:.3f})" for true, false in told)
        yield f"bars of {period} native pixels, white {white:g}: at rest, and along the path  {said}"


def _chart() -> tuple[Picture, list[tuple[int, int]]]:
    """Bands of bars, with dots beside them, and the rows of the field from which to which each of them is."""
    size = [side * FINE + 2 * MARGIN for side in SHAPE]
    scene, height = np.empty(size, np.float32), SHAPE[0] * FINE / len(PERIODS)
    column, bands = np.arange(size[1]) + 0.5 - MARGIN, []
    for number, period in enumerate(PERIODS):
        first, last = (int(height * each) for each in (number, number + 1))
        scene[MARGIN + first : MARGIN + last] = 0.5 + 0.45 * np.sin(2 * np.pi * column / (period * FINE))
        bands.append((first, last))
    scene[:MARGIN], scene[-MARGIN:] = scene[MARGIN], scene[-MARGIN - 1]
    rng = np.random.default_rng(0)
    for _ in range(40):
        centre = rng.uniform(0, size)
        if not any(first + 4 < centre[0] - MARGIN < last - 4 for first, last in bands):
            cv2.circle(scene, (round(centre[1]), round(centre[0])), 4, 1.0, -1, cv2.LINE_AA)
    return scene, bands


LINES: dict[str, Callable[[float, Restorer], Iterator[str]]] = {"bars": bars, "background": background}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", choices=[*CASES, *LINES])
    parser.add_argument("--white", default="0.02,0.05,0.2")
    parser.add_argument("--only", help="of the pictures, by number; comma-separated")
    parser.add_argument("--weights")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    restorer, whites = load_restorer(asked.weights), [float(each) for each in asked.white.split(",")]
    print(
        "case        white picture  at rest  full sum  best window  along  least gain  covered at rest, along"
        "  path error  followed"
    )
    for case in asked.cases:
        if case in LINES:
            print(*(line for white in whites for line in LINES[case](white, restorer)), sep="\n", flush=True)
            continue
        number = 3 if case in ("object", "discs") else len(NAMES)
        pictures = range(number) if asked.only is None else [int(each) for each in asked.only.split(",")]
        for white in whites:
            found = []
            for picture in pictures:
                found.append(measured(CASES[case](picture), white, restorer))
                _print(case, white, str(picture), found[-1:])
            _print(case, white, "mean", found)


def _print(case: str, white: float, picture: str, found: list[Figures]) -> None:
    rows = [(f.rest, f.full, f.best, f.along, f.covered_at_rest, f.covered, f.error) for f in found]
    rest, full, best, along, covered_at_rest, covered, error = np.mean(rows, axis=0)
    least = min(f.along - f.best for f in found)
    said = ", ".join(f"{number} {way}" for way, number in Counter(f.followed for f in found).items())
    print(
        f"{case:<11} {white:5g} {picture:<7} {rest:8.2f} {full:9.2f} {best:12.2f} {along:6.2f} {least:+11.2f}"
        f" {covered_at_rest:16.1%} {covered:6.1%} {error:11.2f}  {said}",
        flush=True,
    )


if __name__ == "__main__":
    main()

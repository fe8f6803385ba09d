"""Scenes that move while an array counts, drawn and sampled: exact rates, known paths."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from noise_model.arrays import Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, Exposure, Sensor
from simulate.drawings import dead_leaves
from spadsr.motion.blocks import Blocks

SHAPE, FINE, MARGIN = (64, 32), 4, 64  # native pixels; fine ones in a native one, and around the field
SECONDS, FRAMES, BLOCKS = 1e-5, 16, 128


def binary_array(seed: int = 0, shape: tuple[int, int] = SHAPE) -> Sensor:
    """A part of the drawn SPAD512 array: 3 % spread of the efficiency, 5 % hot pixels, the brightest of them masked."""
    whole = Sensor.load("spad512")
    top, left = 64 * (seed % 7), 32 * (seed % 13)
    part = slice(top, top + shape[0]), slice(left, left + shape[1])
    dark = whole.dark_count_rate[part].clone()
    mask = (dark * SECONDS > 0.02).int() * HOT
    return replace(whole, pde=whole.pde[part].clone(), dark_count_rate=dark, pixel_mask=mask, measured=True)


def counting_array(seed: int = 0) -> Sensor:
    """The maps of `binary_array`, on a counting array that is blind for a 17th of the frame after each count."""
    sensor = binary_array(seed)
    return replace(sensor, dead_time=SECONDS / 17.5, counter_bits=9, afterpulse_probability=0.0)


def drawn(seed: int, shape: tuple[int, int] = SHAPE) -> Picture:
    """A drawing, 0 to 1, with a margin around the field."""
    size = shape[0] * FINE + 2 * MARGIN, shape[1] * FINE + 2 * MARGIN
    picture = dead_leaves(size, np.random.default_rng(seed))
    dark, bright = np.quantile(picture, [0.05, 0.95])
    return np.asarray(np.clip((picture - dark) / (bright - dark), 0.05, 1), np.float32)


def shake(amplitude: float, seed: int, blocks: int = BLOCKS) -> Floats:
    """A path (G, 3) of four slow waves over `amplitude` native pixels a side, 0 at the centre."""
    rng, times = np.random.default_rng(seed), (np.arange(blocks) + 0.5) / blocks
    path = np.zeros((blocks, 3))
    for axis in (0, 1):
        wave = sum(rng.normal() / f * np.sin(2 * np.pi * (f * times + rng.uniform())) for f in (1, 2, 3, 5))
        path[:, axis] = wave / np.ptp(wave) * amplitude
    return centred(path)


def drift(down: float, right: float, turn: float, blocks: int = BLOCKS) -> Floats:
    """A straight path (G, 3) over so many native pixels, and radians."""
    times = (np.arange(blocks) + 0.5) / blocks - 0.5
    return np.outer(times, [down, right, turn])


def centred(path: Floats) -> Floats:
    return path - path[len(path) // 2 - 1 : len(path) // 2 + 1].mean(axis=0)


def seen_along(picture: Picture, path: Floats, shape: tuple[int, int] = SHAPE) -> Picture:
    """Light (G, H, W) of native pixels that look at a picture along a path: its means over their areas."""
    boxes = cv2.boxFilter(picture, -1, (FINE, FINE), anchor=(0, 0))
    row, column = (np.arange(size) + 0.5 - size / 2 for size in shape)
    frames = []
    for down, right, turn in path:
        sine, cosine = np.sin(turn), np.cos(turn)
        y = cosine * row[:, None] - sine * column + shape[0] / 2 + down
        x = sine * row[:, None] + cosine * column + shape[1] / 2 + right
        corner = (np.float32(each * FINE - FINE / 2 + MARGIN) for each in (x, y))
        frames.append(cv2.remap(boxes, *corner, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
    return np.stack(frames)


def crossing(picture: Picture, length: float, blocks: int = BLOCKS) -> Picture:
    """Light (G, H, W) of a picture at rest that a bright, striped ellipse crosses over `length` native pixels."""
    inside = picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
    y, x = (np.arange(size) + 0.5 - size / 2 for size in inside.shape)
    frames = []
    for right in np.linspace(-length / 2, length / 2, blocks) * FINE:
        radius = np.hypot(y[:, None] / (13 * FINE), (x - right) / (7 * FINE))
        cover = np.clip((1 - radius) * 7 * FINE + 0.5, 0, 1)
        object_ = 0.6 + 0.4 * np.sin(y[:, None] / 9) * np.sin((x - right) / 7)
        frames.append(_native((1 - cover) * inside + cover * object_))
    return np.stack(frames)


def flow(seed: int, length: float, blocks: int = BLOCKS) -> Picture:
    """Light (G, H, W) of discs that flow down a channel, by `length` native pixels in its middle and less beside."""
    rng, (height, width) = np.random.default_rng(seed), (SHAPE[0] * FINE, SHAPE[1] * FINE)
    discs = [
        (rng.uniform(0, height + 80), x, rng.uniform(5, 11), rng.uniform(0.4, 1))
        for x in rng.uniform(16, width - 16, 40)
    ]
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    frames = []
    for time in np.linspace(-0.5, 0.5, blocks):
        picture = np.full((height, width), 0.12, np.float32)
        for start, across, radius, bright in discs:
            speed = length * (1 - 0.8 * (2 * across / width - 1) ** 2)
            down = (start + speed * time * FINE) % (height + 80) - 40
            cover = np.clip(radius + 0.5 - np.hypot(y - down, x - across), 0, 1)
            picture = picture * (1 - cover) + cover * np.float32(bright)
        frames.append(_native(picture))
    return np.stack(frames)


def _native(picture: Picture) -> Picture:
    height, width = picture.shape
    return np.asarray(picture.reshape(height // FINE, FINE, width // FINE, FINE).mean(axis=(1, 3)), np.float32)


def counted(light: Picture, white: float, sensor: Sensor, seed: int, frames: int = FRAMES) -> Blocks:
    """Blocks of counts of some light (G, H, W) of which 1 leads to `white` detections in a hardware frame.

    For a binary array that is the share of frames with one, for a counting array the rate.
    """
    per_frame = -np.log1p(-white) if sensor.binary else white
    rates = torch.from_numpy(np.ascontiguousarray(light, np.float32) * np.float32(per_frame / SECONDS))
    counts = ForwardModel(sensor, Exposure(SECONDS, frames)).sample(rates, torch.Generator().manual_seed(seed))
    return Blocks.consecutive(counts.numpy().astype(np.uint16), frames, sensor, SECONDS)


@dataclass(frozen=True)
class MovingScene:
    """A drawing seen along a path: blocks of counts, and the truth."""

    blocks: Blocks
    path: Floats
    truth: Picture


def moving(
    path: Floats, white: float, seed: int, sensor: Sensor | None = None, picture: Picture | None = None
) -> MovingScene:
    """A drawing seen along a path by a binary array, or by the sensor given."""
    scene = drawn(seed) if picture is None else picture
    blocks = counted(seen_along(scene, path), white, sensor or binary_array(seed), 1000 + seed)
    return MovingScene(blocks, path, scene[MARGIN:-MARGIN, MARGIN:-MARGIN])

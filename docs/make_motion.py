"""The pictures of docs/motion.md: nothing is needed but the package.

python docs/make_motion.py [WEIGHTS]        # writes docs/images/motion_*.png
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.data import camera

import spadsr
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.metrics import psnr
from spadsr.motion.motion import Way
from spadsr.pictures.sheets import Strip, contact_sheet, enlarged
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

IMAGES = Path(__file__).parent / "images"
SHAPE, FINE, PARTS, FRAMES = (64, 32), 4, 128, 16  # native pixels; fine ones in each; images, and frames in each
SECONDS, WHITE = 1e-5, 0.1  # detections a frame where it is white

Light = NDArray[np.float32]


def photograph(path: NDArray[np.float64]) -> Light:
    """A photograph, (T, 256, 128), that moves along a path (T, 3): native pixels down and right, radians."""
    grey = cv2.resize(camera().astype(np.float32) / 255, (256, 256), interpolation=cv2.INTER_AREA)  # type: ignore[no-untyped-call]
    rows, columns = (np.arange(FINE * side) + 0.5 - FINE * side / 2 for side in SHAPE)
    frames = []
    for down, right, turn in path:
        sine, cosine = np.sin(turn), np.cos(turn)
        y = cosine * rows[:, None] - sine * columns + 127.5 + FINE * down
        x = sine * rows[:, None] + cosine * columns + 127.5 + FINE * right
        place = np.float32(x), np.float32(y)
        frames.append(cv2.remap(grey, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
    return np.stack(frames)


def discs(length: float) -> Light:
    """Discs that flow down a channel, (T, 256, 128), by `length` native pixels in its middle."""
    rng, (height, width) = np.random.default_rng(5), (FINE * side for side in SHAPE)
    places = rng.uniform(16, width - 16, 40)
    drops = [(rng.uniform(0, height + 80), x, rng.uniform(5, 11), rng.uniform(0.4, 1)) for x in places]
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    frames = []
    for time in times():
        picture = np.full((height, width), 0.12, np.float32)
        for start, across, radius, bright in drops:
            down = start + length * FINE * time * (1 - 0.8 * (2 * across / width - 1) ** 2)
            cover = np.clip(radius + 0.5 - np.hypot(y - (down % (height + 80) - 40), x - across), 0, 1)
            picture = picture * (1 - cover) + cover * np.float32(bright)
        frames.append(picture.astype(np.float32))
    return np.stack(frames)


def times() -> NDArray[np.float64]:
    """The middle of each image, in units of the recording, 0 at its centre."""
    return (np.arange(PARTS) + 0.5) / PARTS - 0.5


def shaken() -> NDArray[np.float64]:
    """A path (T, 3) of slow waves over four native pixels."""
    phase = 2 * np.pi * times()
    down, right = 1.6 * np.sin(phase) + 0.8 * np.sin(2.3 * phase), 1.2 * np.sin(1.4 * phase) - 0.9 * np.sin(2.7 * phase)
    return np.stack([down, right, 0 * phase], axis=1)


def turned() -> NDArray[np.float64]:
    """A path (T, 3) that turns by 20 degrees."""
    return np.stack([2 * times(), 0 * times(), np.radians(20) * times()], axis=1)


def strip(name: str, scene: Light, restorer: Restorer) -> Strip:
    """A scene that moves: its sum as recorded and restored, restored along its motion, and in the middle of the sum."""
    sensor = Sensor.load("spad512")
    sensor = sensor.cropped(slice(64, 128), slice(32, 64))
    native = scene.reshape(PARTS, SHAPE[0], FINE, SHAPE[1], FINE).mean(axis=(2, 4)) * np.float32(WHITE / SECONDS)
    exposure = Exposure(SECONDS, FRAMES)
    counts = ForwardModel(sensor, exposure).sample(torch.from_numpy(native), torch.Generator().manual_seed(1)).numpy()

    def restored(way: Way) -> Restored:
        [found] = spadsr.restore_all(counts, exposure=exposure, sum=PARTS, weights=restorer, motion=way)
        return found

    plain, followed = restored("none"), restored("auto")
    truth = scene[PARTS // 2 - 1 : PARTS // 2 + 1].mean(axis=0) * np.float32(WHITE / SECONDS)
    better = [psnr(each.rate / truth.max(), truth / truth.max()) for each in (plain, followed)]
    recorded = counts.sum(axis=0) / (SECONDS * FRAMES * PARTS)
    rates = {
        "sum": enlarged(recorded.astype(np.float32), FINE),
        "sum, restored": plain.rate,
        "along the motion": followed.rate,
        "truth": truth,
    }
    assert followed.cycles is not None
    used = enlarged(followed.cycles.astype(np.float32), FINE)
    return Strip(f"{name}: {better[0]:.1f} and {better[1]:.1f} dB", rates, {"frames used": used})


def main(weights: str | None) -> None:
    """Draws all."""
    restorer = load_restorer(weights)
    scenes = {"shake": photograph(shaken()), "turn of 20 degrees": photograph(turned()), "discs": discs(20)}
    for name, scene in scenes.items():
        path = IMAGES / f"motion_{name.split()[0]}.png"
        contact_sheet([strip(name, scene, restorer)], path, columns=1, stretch="linear")
        print(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)

"""Demo without a camera: a known picture, recorded by a simulated SPC3, restored, and compared with the truth."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.baselines import bicubic
from spadsr.evaluation.metrics import block_mean, psnr
from spadsr.motion.motion import way_of
from spadsr.pictures.sheets import Strip, contact_sheet, enlarged
from spadsr.restoration.recordings import restore_capture
from spadsr.restoration.result_file import read_result
from spadsr.restoration.weights import load_restorer

_SCALE, _SUM, _IMAGES = 4, 128, 256
_ZOOM = 2  # screen pixels to a pixel of the truth
_WHITE = 1.0  # counts of a white pixel in one frame


@dataclass(frozen=True)
class Demo:
    """What the demo wrote, and PSNR in dB against the truth for each method."""

    capture: Path
    restored: Path
    picture: Path
    frames: int
    psnr: dict[str, float]


def run_demo(folder: Path, seed: int, progress: Report, command: str, *, moving: bool = False) -> Demo:
    """Writes `capture.h5` (256 images of 64x32), its restoration, and a picture of both beside the truth.

    Args:
        moving: the camera shakes; its motion is followed, and the truth is the middle of the first sum.
        progress: called with the images restored and their number.
        command: how the user asked for it, for the provenance.
    """
    truth = _picture()
    model = ForwardModel(Sensor.load("spc3"), Exposure(count_time=10.4e-6))
    white = _WHITE / model.exposure.count_time
    path = folder / "capture.h5"
    seen = _shaken() if moving else np.broadcast_to(block_mean(truth, _SCALE), (_IMAGES, *model.sensor.shape))
    record(path, seen * np.float32(white), model, seed)
    restorer = load_restorer()
    with open_capture(path) as capture:
        summed, way = capture.summed(_SUM), way_of("auto" if moving else "none")
        done = restore_capture(summed, restorer, _SCALE, None, folder, progress, command, motion=way)
        counts, known = summed.read(0, 1)[0], ForwardModel(summed.sensor, summed.exposure)
    with read_result(done.result) as result:
        restored = result[0].rate
    pictures = {"recorded": bicubic(counts, known, 1), "bicubic": bicubic(counts, known, _SCALE)}
    if moving:
        plain = restorer.restore(torch.from_numpy(counts.astype(np.int64))[None], known, _SCALE)
        pictures["as if at rest"] = plain[0].rate
    pictures |= {"spadsr": restored, "truth": truth * np.float32(white)}
    compare = folder / "demo.png"
    with whole_file(compare) as partial:
        shown = {name: enlarged(picture, _ZOOM) for name, picture in pictures.items()}
        contact_sheet([Strip(f"SPC3, {_SUM} frames", shown, {})], partial, columns=1)
    answers = list(pictures)[1:-1]
    scores = {name: psnr(pictures[name] / np.float32(white), truth) for name in answers}
    return Demo(path, done.result, compare, _SUM, scores)


def record(path: Path, rate: NDArray[np.float32], model: ForwardModel, seed: int) -> None:
    """Writes a capture of a scene: photon detection rates of each image (T, H, W), counts/s."""
    generator = torch.Generator().manual_seed(seed)
    counts, sensor = model.sample(torch.from_numpy(rate), generator), model.sensor
    with CaptureWriter(
        path,
        sensor.shape,
        np.uint16,
        Settings(model.exposure.count_time, model.exposure.most_cycles, sensor.counter_bits, sensor.dead_time),
        notes={"description": f"simulated {sensor.name}", "seed": seed},
    ) as writer:
        writer.append(counts.numpy().astype(np.uint16))


def _picture() -> NDArray[np.float32]:
    """(256, 128), the middle of the photograph."""
    return _photograph()[:, 64:192]


def _photograph() -> NDArray[np.float32]:
    """(256, 256), scikit-image's photograph of a man behind a camera; no scikit-image picture was trained on."""
    from skimage.data import camera

    return block_mean(camera().astype(np.float32) / 255, 2)  # type: ignore[no-untyped-call]


def _shaken() -> NDArray[np.float32]:
    """(T, H, W) what native pixels see while the camera shakes by some of them, as at rest in the middle of a sum."""
    boxes = cv2.boxFilter(_photograph(), -1, (_SCALE, _SCALE), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    time = 2 * np.pi * ((np.arange(_IMAGES) + 0.5) / _SUM - 0.5)
    down = 1.6 * np.sin(time) + 0.8 * np.sin(2.3 * time)
    right = 1.2 * np.sin(1.4 * time) - 0.9 * np.sin(2.7 * time)
    rows, columns = np.indices((64, 32), np.float32) * _SCALE
    return np.stack(
        [
            cv2.remap(
                boxes,
                columns + np.float32(64 + _SCALE * x),
                rows + np.float32(_SCALE * y),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            for y, x in zip(down, right, strict=True)
        ]
    )

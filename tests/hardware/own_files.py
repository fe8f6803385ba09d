"""The other files that the product reads, to fuzz their readers: what it wrote itself, and what users write for it."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from hostile_files import Format, bomb

from hardware.settings import Settings
from noise_model.config_files import shipped_configs
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from simulate.dataset import PairDataset, SimulatedSet
from simulate.recipe import SimulationRecipe
from simulate.scenes import ProceduralScenes
from simulate.shards import SceneMaker
from spadsr.files.describe import describe
from spadsr.networks.registry import build
from spadsr.provenance import Provenance
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.result_file import read_result
from spadsr.restoration.result_writer import CHECKS, ResultWriter
from spadsr.restoration.training_range import trained_for
from spadsr.restoration.weights import load_restorer, save_weights
from spadsr.training.recipe import TrainingRecipe, load_recipe
from spadsr.training.state import new_state

_SHARE = 0.25
_NETWORK = {"widths": [8, 16], "encoder": [1, 1], "decoder": [1], "attention": 1, "heads": 2, "detail": 4}
_TRAINING = TrainingRecipe.model_validate({"network": _NETWORK})

#: Words that are no value of a key, or an extreme one.
_WORDS = r"""0 -1 1 2 1e-320 1e308 -1e308 .inf -.inf .nan NaN Infinity 1e400 9223372036854775808 -9223372036854775809
true null ~ [] {} "" [[]] [1] 2001-99-99 1:59:59 0x7fffffffffffffff "\0" "\x1b[2J" ../x /dev/zero . *a &a 0.5 60000
4294967296 !!int !!binary !!python/name:os.system base 1e-12 !!timestamp"""
_HUGE = ("9" * 5000, "[" * 3000, "{a: " * 1000, "'" + "a" * 50_000 + "'", "- " * 2000)
_NUMBER = re.compile(rb"-?\d[\d.e+-]*")


def own_formats(folder: Path, outside: Path) -> list[Format]:
    """All of them, made in `folder`; links lead to `outside`."""
    torch.set_num_threads(1)
    return [
        _sensor(folder),
        _maps(folder),
        _text("simulation recipe", _yaml_files("simulate"), _use_simulation),
        _text("training recipe", _yaml_files("train"), _use_training),
        _text("override", [b"steps=100", b"network.detail=64", b"stages=[{share: 1, native: 32}]"], _use_override),
        _weights(folder),
        _checkpoint(folder),
        *_simulated(folder, outside),
        _result(folder, outside),
    ]


def _text(name: str, ordinary: list[bytes], read: Callable[[Path], None]) -> Format:
    traps = tuple(huge.encode() for huge in _HUGE)
    return Format(name, f"{name.replace(' ', '_')}.yaml", ordinary, traps, read=read, rewritten=reworded, share=_SHARE)


def reworded(whole: bytes, rng: np.random.Generator) -> bytes:
    """Text of keys and values with some numbers or values replaced, and lines left out, repeated or nested."""
    lines = whole.splitlines()
    for _ in range(int(rng.integers(1, 4))):
        at, way = int(rng.integers(len(lines))), rng.random()
        word = str(rng.choice(_HUGE) if rng.random() < 0.05 else rng.choice(_WORDS.split())).encode()
        key, colon, _value = lines[at].partition(b"=" if b"=" in lines[at] else b":")
        if way < 0.35 and (numbers := list(_NUMBER.finditer(lines[at]))):
            found = numbers[rng.integers(len(numbers))]
            lines[at] = lines[at][: found.start()] + word + lines[at][found.end() :]
        elif way < 0.7:
            lines[at] = key + colon + b" " * (colon == b":") + word
        elif way < 0.8 and len(lines) > 1:
            del lines[at]
        elif way < 0.9:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        else:
            lines[at] = b"  " + lines[at]
    return b"\n".join(lines)


def _yaml_files(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(shipped_configs().glob(f"{kind}/*.yaml"))]


def _use_simulation(path: Path) -> None:
    recipe = SimulationRecipe.load(path)
    assert len(recipe.exposures) * len(recipe.white_rates) > 0


def _use_training(path: Path) -> None:
    recipe = load_recipe(path, [])
    assert recipe.of_stages()
    assert recipe.of_step(recipe.steps - 1)


def _use_override(path: Path) -> None:
    try:
        load_recipe(None, [path.read_text(encoding="utf-8", errors="surrogateescape")])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _use_sensor(path: Path) -> None:
    sensor = Sensor.load(path)
    model = ForwardModel(sensor.uniform((4, 4)), Exposure(1e-5, 4))
    rate, variance = model.detection_rate(torch.ones(4, 4))
    assert bool((rate.isfinite() & variance.isfinite()).all())


def _sensor(folder: Path) -> Format:
    Sensor.load("spc3").save(folder / "made.yaml")
    return _text("sensor", [*_yaml_files("sensors"), (folder / "made.yaml").read_bytes()], _use_sensor)


def _maps(folder: Path) -> Format:
    Sensor.load("spc3").uniform((6, 5)).save(folder / "maps.yaml")
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pde.npy", _npy_header("(30000, 30000)") + bytes(1 << 20))
    plain = io.BytesIO()
    np.save(plain, np.ones((6, 5)))
    return Format(
        "sensor maps",
        "maps.npz",
        [(folder / "maps.npz").read_bytes()],
        (zeros.getvalue(), plain.getvalue(), b"PK\5\6" + bytes(18)),
        read=lambda path: _use_sensor(path.with_suffix(".yaml")),
        rewritten=_other_maps,
        share=_SHARE,
    )


def _npy_header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


def _other_array(array: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """An array with other values, of another type or of another shape."""
    extremes = np.array([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300, 1e-320, 2.0])
    way = rng.random()
    if way < 0.4:
        changed = array.astype(np.float64)
        changed.flat[rng.integers(changed.size)] = rng.choice(extremes)
        return changed
    if way < 0.6:
        return array.astype(rng.choice(["S3", "f2", "c16", "u1", "i8", "bool", "M8[s]", "V4"]))
    shapes = ((0,), (1, 1), (2, 3, 4), (), (3, 0), array.shape[::-1], (*array.shape, 1))
    return np.ones(shapes[rng.integers(len(shapes))], array.dtype if rng.random() < 0.5 else np.float64)


def _other_maps(whole: bytes, rng: np.random.Generator) -> bytes:
    with np.load(io.BytesIO(whole)) as archive:
        arrays = dict(archive)
    name = sorted(arrays)[rng.integers(len(arrays))]
    if rng.random() < 0.2:
        del arrays[name]
    else:
        arrays[name] = _other_array(arrays[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", int(rng.choice([0, 8, 8, 12, 14]))) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
    return packed.getvalue()


def _use_weights(path: Path) -> None:
    describe(path)
    trained_for(load_restorer(path).provenance)


def _weights(folder: Path) -> Format:
    path = folder / "w.safetensors"
    provenance = {"recipe": _TRAINING.model_dump(mode="json")}
    save_weights(path, build(_TRAINING.network), Intervals(), provenance)
    whole = path.read_bytes()
    large = {"widths": [2048, 2048], "encoder": [64, 64], "decoder": [64]}
    lies = ({"attention": 10**6}, large, {"widths": [10**12, 16]}, {"heads": 0})
    traps = [_with_header(whole, partial(_lie, network=json.dumps(_NETWORK | lie))) for lie in lies]
    traps += [(1 << 40).to_bytes(8, "little") + whole[8:], (1 << 23).to_bytes(8, "little") + bytes(1 << 23)]
    return Format(
        "weights", "a.safetensors", [whole], tuple(traps), read=_use_weights, rewritten=_other_weights, share=_SHARE
    )


def _lie(header: Any, **texts: str) -> None:
    header["__metadata__"].update(texts)


def _with_header(whole: bytes, change: Callable[[Any], Any]) -> bytes:
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    change(header)
    return _behind(json.dumps(header).encode(), whole[start:])


def _behind(header: bytes, rest: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + rest


def _other_weights(whole: bytes, rng: np.random.Generator) -> bytes:
    """Weights whose header, or a text of JSON in it, says something else."""
    start = 8 + int.from_bytes(whole[:8], "little")
    if rng.random() < 0.3:
        return _behind(_reworded_json(whole[8:start], rng), whole[start:])

    def change(header: Any) -> None:
        texts = header["__metadata__"]
        name = sorted(texts)[rng.integers(len(texts))]
        texts[name] = _reworded_json(texts[name].encode(), rng).decode(errors="replace")
        if rng.random() < 0.1:
            texts[name] = '{"a":' * 60_000 if rng.random() < 0.5 else "[" * 900 + "]" * 900

    return _with_header(whole, change)


def _reworded_json(whole: bytes, rng: np.random.Generator) -> bytes:
    broken = re.sub(rb"([,{\[])", rb"\1\n", whole)
    return reworded(broken, rng).replace(b"\n", b"")


def _checkpoint(folder: Path) -> Format:
    path, state = folder / "made.pt", new_state(_TRAINING, torch.device("cpu"))
    for parameter in state.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step(1e-3)
    state.step, state.samples, state.history = 3, 48, [{"step": 3, "loss": 1.0}]
    state.save(path)
    huge = io.BytesIO()
    torch.save({"network": torch.zeros(1).expand(1 << 40)}, huge)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
    old = io.BytesIO()
    torch.save({"network": {}}, old, _use_new_zipfile_serialization=False)
    traps = (huge.getvalue(), packed.getvalue(), old.getvalue(), bomb()[:1000])
    read = lambda path: new_state(_TRAINING, torch.device("cpu")).load(path)  # noqa: E731
    return Format(
        "checkpoint", "a.pt", [path.read_bytes()], traps, read=read, rewritten=_other_checkpoint, share=_SHARE
    )


def _other_checkpoint(whole: bytes, rng: np.random.Generator) -> bytes:
    """A checkpoint with a part of it changed, as its archive holds it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(packed, "w") as other:
        names = archive.namelist()
        chosen = next(name for name in names if name.endswith(".pkl")) if rng.random() < 0.8 else rng.choice(names)
        for name in names:
            content = bytearray(archive.read(name))
            if name == chosen:
                for _ in range(int(rng.integers(1, 4))):
                    content[rng.integers(len(content))] = rng.integers(256)
            other.writestr(name, bytes(content))
    return packed.getvalue()


def _simulated(folder: Path, outside: Path) -> list[Format]:
    recipe = SimulationRecipe.load().model_copy(
        update={"shape": (8, 4), "bit_depths": (1, 4), "white_detections": (0.1,)}
    )
    maker, change = SceneMaker(ProceduralScenes(0), recipe, recipe.sensor(Sensor.load("spc3")), 0), _other_hdf5(outside)
    for name in ("set", "other set"):
        list(SimulatedSet(folder / name, maker, 2, 1).write())
    shard, manifest = "set/shard-00000.h5", "other set/set.yaml"
    return [
        Format("shard", shard, [(folder / shard).read_bytes()], (), bytes, True, _use_set, change, _SHARE),
        Format("manifest", manifest, [(folder / manifest).read_bytes()], (), bytes, True, _use_set, reworded, _SHARE),
    ]


def _use_set(folder: Path) -> None:
    pairs = PairDataset(folder, 4)
    for item in (0, len(pairs) - 1):
        assert int(pairs[item].counts.min()) >= 0
    describe(folder / "shard-00000.h5")


def _other_hdf5(outside: Path) -> Callable[[bytes, np.random.Generator], bytes]:
    """What changes an item or an attribute of an HDF5 file: left out, of another type or shape, or a link."""

    def changed(whole: bytes, rng: np.random.Generator) -> bytes:
        memory = io.BytesIO(whole)
        with h5py.File(memory, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            for _ in range(int(rng.integers(1, 3))):
                name = names[rng.integers(len(names))]
                if file.get(name) is not None:
                    _change(file, name, outside, rng)
        return memory.getvalue()

    return changed


def _change(file: h5py.File, name: str, outside: Path, rng: np.random.Generator) -> None:
    item, way = file[name], rng.random()
    attributes = item.attrs if rng.random() < 0.8 and len(item.attrs) else file.attrs
    if way < 0.3 and len(attributes):
        key = sorted(attributes)[rng.integers(len(attributes))]
        odd: list[Any] = [
            np.nan,
            -1,
            0,
            1e300,
            "x",
            b"\xff\xfe",
            [1, 2],
            h5py.Empty("f8"),
            np.array([[1.0]]),
            "\x1b[2J",
        ]
        attributes[key] = odd[rng.integers(len(odd))]
        if rng.random() < 0.3:
            del attributes[key]
        return
    array = item[()] if isinstance(item, h5py.Dataset) else None
    del file[name]
    if way < 0.45:
        return
    if way < 0.6:
        links = (h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink(str(outside / "other.h5"), "/entry"))
        file[name] = links[rng.integers(len(links))]
    elif way < 0.7:
        file.create_dataset(name, (1 << 40, 8, 8), "u2", chunks=(1, 8, 8), compression="gzip")
    elif way < 0.8 or not isinstance(array, np.ndarray):
        texts: list[Any] = ["{" * 5000, "[]", "{}", "null", "x", np.float64(np.nan), np.int64(-1), h5py.Empty("u1")]
        file[name] = texts[rng.integers(len(texts))]
    elif way < 0.85:
        file.create_group(name)
    else:
        file[name] = _other_array(array, rng)


def _use_result(path: Path) -> None:
    describe(path)
    with read_result(path) as result:
        assert result[0].rate.shape == result.shape[1:]
        assert len(result.check("residual")) == len(result)


def _result(folder: Path, outside: Path) -> Format:
    made = Provenance("base", "0" * 64, {"name": "spc3"}, "spadsr infer a.h5", {"scale": 2}, {"spadsr": "1"})
    how: dict[str, Any] = {"settings": Settings(1e-5, 4), "notes": {"laser": "off"}, "source": "a.h5", "scale": 2}
    path = folder / "made.sr.h5"
    rate = np.ones((3, 8, 6), np.float32)
    checks = {name: np.ones(3, np.float32) for name in CHECKS} | {"residual": np.zeros((3, 4, 3), np.float32)}
    with ResultWriter(path, provenance=made, warnings=["odd"], **how) as writer:
        writer.append(rate, rate, np.full(3, 2, np.float32), checks)
    return Format(
        "result", "a.sr.h5", [path.read_bytes()], read=_use_result, rewritten=_other_hdf5(outside), share=_SHARE
    )

"""The face of the package: what a person types in a notebook, and that it gives what the command line gives."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Said

import spadsr
from hardware.captures.capture import Capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.forward_model import ForwardModel
from spadsr import api
from spadsr.restoration.restored import Restored

Record = Callable[..., Path]
EXPOSURE = spadsr.Exposure(10.4e-6, 16)


def outside(command: list[Any], **how: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **how)


def python(code: str, *arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
    return outside([sys.executable, "-c", code, *arguments], **how)


@pytest.fixture
def capture(recorded: Record) -> Iterator[Capture]:
    """40 images of 8 x 7 pixels, 16 frames each."""
    with spadsr.open(recorded(40, 8, 7)) as opened:
        yield opened


@pytest.fixture
def counts() -> np.ndarray[Any, Any]:
    """(3, 8, 7), of 16 frames."""
    return np.random.default_rng(1).binomial(16, 0.2, (3, 8, 7))


@pytest.fixture
def command(spadsr: Callable[..., Said]) -> Callable[..., Said]:
    """command(*arguments) runs the command line: `spadsr` is the package here."""
    return spadsr


def same(one: Restored, other: Restored) -> None:
    for name in ("rate", "uncertainty", "coverage_factor"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name, values in vars(one.check).items():
        np.testing.assert_array_equal(values, getattr(other.check, name))


def alike(one: Restored, other: Restored) -> None:
    """Within what rounding does to images that are restored in other company."""
    for name in ("rate", "uncertainty", "coverage_factor"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0.02, atol=0.02 * other.rate.max())


# The package itself


def test_importing_it_loads_nothing() -> None:
    code = "import sys; import typing; before = set(sys.modules); import spadsr; print(*sys.modules.keys() - before)"
    assert python(code).stdout.split() == ["spadsr"]


def test_the_face_is_complete() -> None:
    """What type checkers see, what is loaded, and what is announced are the same."""
    tree = ast.parse(Path(spadsr.__file__).read_text())
    seen = {
        (alias.asname or alias.name): (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("hardware", "noise_model", "spadsr")
        for alias in node.names
        if alias.name != "refuse_namesakes"
    }
    assert seen == spadsr._PLACES  # type: ignore[attr-defined]
    assert sorted({*seen, "__version__"}) == sorted(spadsr.__all__)
    assert set(spadsr.__all__) <= set(dir(spadsr))
    for name, (_, there) in seen.items():
        assert getattr(spadsr, name).__name__ == there
        assert getattr(spadsr, name).__doc__


def test_everything_can_be_had_at_once() -> None:
    names: dict[str, Any] = {}
    exec("from spadsr import *", names)
    assert set(spadsr.__all__) <= names.keys()


def test_a_name_that_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="'spadsr' has no attribute 'denoise'"):
        spadsr.denoise  # type: ignore[attr-defined]  # noqa: B018


def test_its_version(command: Callable[..., Said]) -> None:
    assert spadsr.__version__ == version("spadsr")
    assert command("--version") == Said(0, f"spadsr {version('spadsr')}\n", "")


@pytest.mark.parametrize("name", ["hardware", "simulate", "noise_model"])
@pytest.mark.parametrize("kind", ["module", "package"])
def test_another_module_of_the_same_name_is_named(tmp_path: Path, name: str, kind: str) -> None:
    """As a file in the working folder for `python -m spadsr`, and anywhere else on Python's path for the command."""
    other = tmp_path / (f"{name}.py" if kind == "module" else f"{name}/__init__.py")
    other.parent.mkdir(exist_ok=True)
    other.write_text("raise RuntimeError('imported')")
    by_module = outside([sys.executable, "-m", "spadsr", "--version"], cwd=tmp_path)
    script = tmp_path / "bin" / "spadsr"
    script.parent.mkdir()
    script.write_text("from spadsr.cli import main\nmain()\n")
    path = os.pathsep.join([str(tmp_path), str(Path(spadsr.__file__).parents[1])])
    by_script = outside([sys.executable, script, "--version"], env=os.environ | {"PYTHONPATH": path})
    for done in (by_module, by_script):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {other}: another module named {name!r}")
        assert "rename" in done.stderr
        assert done.stderr.count("\n") == 1
    by_import = python("import spadsr; spadsr.open('a.h5')", cwd=tmp_path)  # a notebook in that folder
    assert f"ImportError: {other}: another module named {name!r}" in by_import.stderr


# Restoring


def test_a_restored_image_is_that_of_the_command(
    command: Callable[..., Said], recorded: Record, small_weights: Path
) -> None:
    """To the bit: one after the other, and all at once."""
    path = recorded(40, 8, 7)
    assert command("restore", path, "--sum", 8, "--scale", 2, "--float32", "--weights", small_weights).code == 0
    how: dict[str, Any] = {"scale": 2, "weights": small_weights}
    with spadsr.open(path) as capture, spadsr.read_result(path.with_name("capture.sr.h5")) as written:
        assert len(written) == 5
        for index, image in enumerate(spadsr.restore_all(capture, sum=8, **how)):
            same(image, written[index])
            alike(spadsr.restore(capture, sum=8, image=index, **how), written[index])
        first = spadsr.restore(capture, sum=8, **how)
        alike(first, written[0])
        assert (first.settings, first.source) == (written.settings, "capture.h5")
        stack = spadsr.restore(capture.read(0, 40), exposure=capture.exposure, sum=8, **how)
        same(stack, written.read(0, 5))
        assert stack.settings.cycles == 128


def test_shipped_weights_and_a_preset_are_those_of_the_command(command: Callable[..., Said], recorded: Record) -> None:
    path = recorded(2, 16, 16, bits=8)
    options = ["--sensor", "spc3", "--weights", "tiny", "--orientations", 2, "--float32"]
    said = command("infer", path, *options)
    assert said.code == 0, said.err
    with spadsr.open(path) as capture, spadsr.read_result(path.with_name("capture.sr.h5")) as written:
        images = list(spadsr.restore_all(capture, sensor="spc3", weights="tiny", orientations=2))
        for index, image in enumerate(images):
            same(image, written[index])
        assert "spc3 is a preset" in images[0].warnings[0]
        assert images[0].provenance.sensor == written.provenance.sensor


def test_a_single_image_and_its_warnings_are_those_of_the_command(
    command: Callable[..., Said], recorded: Record, small_weights: Path
) -> None:
    path = recorded(9, 8, 7)
    command("infer", path, "--weights", small_weights, "--sum", 8, "--float32")
    with spadsr.open(path) as capture, spadsr.read_result(path.with_name("capture.sr.h5")) as written:
        picture = spadsr.restore(capture, sum=8, weights=small_weights)
        same(picture, written[0])
        assert picture.warnings == written.warnings
        assert picture.warnings[0] == "1 of 9 images fill no group of 8 scene images and are left out"


@pytest.mark.parametrize(
    "given",
    [
        lambda counts: counts,
        lambda counts: counts.astype(np.uint8),
        lambda counts: counts.astype(np.float64),
        lambda counts: np.asfortranarray(counts),
        lambda counts: torch.from_numpy(counts),
        lambda counts: torch.from_numpy(counts).float().requires_grad_(),
        lambda counts: counts.tolist(),
        lambda counts: list(counts),
    ],
    ids=["int64", "uint8", "float64", "Fortran", "torch", "torch float", "lists", "list of arrays"],
)
def test_arrays_of_any_kind(counts: np.ndarray[Any, Any], small_weights: Path, given: Callable[[Any], Any]) -> None:
    how: dict[str, Any] = {"exposure": EXPOSURE, "weights": small_weights, "scale": 2}
    stack = spadsr.restore(given(counts), **how)
    assert (stack.rate.shape, stack.uncertainty.shape, stack.rate.dtype) == ((3, 16, 14), (3, 16, 14), np.float32)
    assert len(stack) == 3
    same(stack, spadsr.restore(counts, **how))
    image = spadsr.restore(given(counts)[1], **how)
    assert image.rate.shape == (16, 14)
    alike(image, stack[1])
    assert image.counts is not None
    np.testing.assert_array_equal(image.counts, counts[1])
    same(spadsr.restore(given(counts), image=-2, **how), image)


def test_truth_values_are_counts_of_one_frame(small_weights: Path) -> None:
    bits = np.random.default_rng(0).random((8, 8)) < 0.3
    how: dict[str, Any] = {"exposure": spadsr.Exposure(1e-5), "weights": small_weights}
    same(spadsr.restore(bits, **how), spadsr.restore(bits.astype(int), **how))


def spoilt(value: float) -> np.ndarray[Any, Any]:
    counts = np.zeros((3, 8, 7))
    counts[2, 3, 5] = value
    return counts


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (spoilt(-1), "counts[2, 3, 5] is -1.0: expected whole numbers"),
        (spoilt(0.5), "counts[2, 3, 5] is 0.5: expected whole numbers"),
        (spoilt(np.nan), "counts[2, 3, 5] is nan: expected whole numbers"),
        (spoilt(np.inf), "counts[2, 3, 5] is inf: expected whole numbers"),
        (spoilt(17), "counts[2, 3, 5] is 17.0: expected 16 at most, from 16 hardware frames of a 1-bit counter"),
        (spoilt(17)[2].astype(int), "counts[3, 5] is 17: expected 16"),
        (spoilt(1e30), "counts[2, 3, 5] is 1e+30: expected 16"),
        (torch.from_numpy(spoilt(-1)).int(), "counts[2, 3, 5] is -1: expected"),
        (np.zeros(5), "counts of shape (5,)"),
        (7, "counts of shape ()"),
        (np.zeros((1, 2, 3, 4)), "counts of shape (1, 2, 3, 4)"),
        (np.zeros((0, 8, 8)), "counts of shape (0, 8, 8)"),
        ([[1, 2], [3]], "counts: not an array of numbers"),
        ("capture.h5", "the name of a file; open it first"),
        (None, "counts of type object"),
        (np.zeros((4, 4), complex), "counts of type complex128"),
    ],
)
def test_what_are_no_counts_is_refused(counts: Any, words: str) -> None:
    """In one line, before any network is loaded."""
    for function in (spadsr.restore, spadsr.restore_all):
        with pytest.raises(spadsr.InputError) as caught:
            function(counts, exposure=EXPOSURE, weights="none")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_range_of_counts_is_that_of_the_sensor(small_weights: Path) -> None:
    """A preset serves any size."""
    image = np.full((8, 8), 200)
    spadsr.restore(image, exposure=spadsr.Exposure(1e-5), sensor="spc3", weights=small_weights)
    with pytest.raises(spadsr.InputError, match=r"counts\[0, 0\] is 200: expected 1 at most"):
        spadsr.restore(image, exposure=spadsr.Exposure(1e-5), sensor="spad512", weights=small_weights)


def test_arrays_need_an_exposure_and_captures_have_one(capture: Capture, small_weights: Path) -> None:
    with pytest.raises(spadsr.InputError, match=r"add exposure=spadsr.Exposure\(10e-6, 64\)"):
        spadsr.restore(np.zeros((8, 8), int), weights=small_weights)
    with pytest.raises(spadsr.InputError, match="leave the exposure out"):
        spadsr.restore(capture, exposure=EXPOSURE, weights=small_weights)
    for impossible in (spadsr.Exposure(-1.0), spadsr.Exposure(1e-5, 0), spadsr.Exposure(float("nan"))):
        with pytest.raises(spadsr.InputError, match=r"count_time|cycles"):
            spadsr.restore(np.zeros((8, 8), int), exposure=impossible, weights=small_weights)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"scale": 3}, "scale 3: not available"),
        ({"sum": 0}, "expected 1 or more"),
        ({"sum": 41}, "fills no group|no group"),
        ({"sum": 8, "image": 5}, "image 5: there are 5 of them"),
        ({"image": -41}, "image -41"),
        ({"sensor": "spc4"}, "no such sensor"),
        ({"sensor": "spc3"}, "a counting array"),
        ({"weights": "none"}, "no such file"),
        ({"device": "toaster"}, "choose cpu"),
        ({"orientations": 9}, "expected 1 to 8"),
    ],
)
def test_wrong_arguments_are_input_errors(
    capture: Capture, small_weights: Path, how: dict[str, Any], words: str
) -> None:
    with pytest.raises(spadsr.InputError, match=words) as caught:
        spadsr.restore(capture, **{"weights": small_weights, **how})
    assert "--" not in str(caught.value)


def test_nothing_is_printed_and_progress_is_told_when_asked(
    counts: np.ndarray[Any, Any], small_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int]] = []
    how: dict[str, Any] = {"exposure": EXPOSURE, "weights": small_weights}
    spadsr.restore(counts, **how)
    list(spadsr.restore_all(counts, **how))
    spadsr.simulate(counts, exposure=EXPOSURE, sensor="spc3")
    assert capfd.readouterr() == ("", "")
    spadsr.restore(counts, **how, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 3)]
    list(spadsr.restore_all(counts, **how, progress=lambda done, total: told.append((done, total))))
    assert told[1:] == [(1, 3), (2, 3), (3, 3)]


def test_the_answer_of_one_image_does_not_depend_on_its_warnings(
    counts: np.ndarray[Any, Any], small_weights: Path
) -> None:
    """Warnings of `restore_all` are about the image they come with."""
    counts = np.full((2, 8, 8), 4)
    counts[1] = 16
    dim, bright = spadsr.restore_all(counts, exposure=EXPOSURE, weights="tiny")
    assert not any("saturated" in line for line in dim.warnings)
    assert any(line.startswith("image 0: 100% of the pixels saturated") for line in bright.warnings)
    assert any("binary array assumed" in line for line in dim.warnings)


# One after the other


class Watched:
    """A reader of captures that notes what it has read."""

    def __init__(self, capture: Capture) -> None:
        self.read, self.seen = capture.source.read, 0

    def __call__(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        self.seen = max(self.seen, stop)
        return self.read(start, stop)


def test_restoring_all_is_lazy(recorded: Record, small_weights: Path) -> None:
    """Counts are read when their image is asked for, a block of them at a time."""
    with spadsr.open(recorded(2000, 16, 16)) as capture:
        watched = Watched(capture)
        images = spadsr.restore_all(
            replace(capture, source=replace(capture.source, read=watched)), scale=1, weights=small_weights
        )
        assert watched.seen == 0
        with closing(images):  # type: ignore[type-var]
            assert next(images).rate.shape == (16, 16)
        assert watched.seen == 64


_LONG = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import spadsr
with spadsr.open(sys.argv[1]) as capture:
    for done, image in enumerate(spadsr.restore_all(capture, scale=4, weights=sys.argv[2]), start=1):
        if done == 100:  # caches of HDF5 and the allocator are full by then
            early = int(Path("/proc/self/statm").read_text().split()[1])
late = int(Path("/proc/self/statm").read_text().split()[1])
print(done, (late - early) * resource.getpagesize() / 2**20)
"""


def test_memory_stays_flat_over_a_long_capture(recorded: Record, small_weights: Path) -> None:
    """400 images of 64 x 64; the answers to the last 300 take 157 MB, those of a block 8 MB."""
    done = python(_LONG, recorded(400, 64, 64), small_weights)
    images, growth = done.stdout.split()
    assert images == "400"
    assert float(growth) < 60


# The network


def test_the_network_is_loaded_once_even_by_many_threads(
    counts: np.ndarray[Any, Any], small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []

    def load(*how: Any) -> Any:
        loaded.append(how)
        return spadsr.load(*how)

    monkeypatch.setattr(api, "load_restorer", load)
    api._loaded.cache_clear()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: api._restorer(small_weights, "cpu", 1), range(8)))
    assert len(loaded) == 1
    small_weights.touch()
    api._restorer(small_weights, "cpu", 1)
    assert len(loaded) == 2  # the file may have changed


def test_a_loaded_network_can_be_given(counts: np.ndarray[Any, Any], small_weights: Path) -> None:
    network = spadsr.load(small_weights)
    same(
        spadsr.restore(counts, exposure=EXPOSURE, weights=network),
        spadsr.restore(counts, exposure=EXPOSURE, weights=small_weights),
    )


def test_many_threads_restore_at_once(recorded: Record, small_weights: Path) -> None:
    """From one capture and from arrays, with different exposures: each gets what it gets alone."""
    path = recorded(64, 12, 10)
    with spadsr.open(path) as capture:
        counts = capture.read(0, 64)

        def job(number: int) -> Restored:
            if number % 2:
                return spadsr.restore(capture, sum=4, image=number % 16, weights=small_weights, scale=2)
            exposure = spadsr.Exposure(1e-6 * (1 + number), 16)
            return spadsr.restore(counts[number], exposure=exposure, weights=small_weights, scale=4)

        alone = [job(number) for number in range(32)]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(job, range(32)))
    for one, other in zip(alone, together, strict=True):
        same(one, other)
        assert one.warnings == other.warnings


# Simulating


def test_simulated_counts_are_those_of_the_forward_model() -> None:
    rate = np.random.default_rng(0).random((4, 64, 32)) * 1e5
    counts = spadsr.simulate(rate, exposure=EXPOSURE, sensor="spc3", seed=3)
    model = ForwardModel(spadsr.Sensor.load("spc3"), EXPOSURE)
    expected = model.sample(torch.from_numpy(rate).float(), torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(counts, expected.numpy())
    np.testing.assert_array_equal(
        counts, spadsr.simulate(torch.from_numpy(rate), exposure=EXPOSURE, sensor=model.sensor, seed=3)
    )
    assert (counts != spadsr.simulate(rate, exposure=EXPOSURE, sensor="spc3", seed=4)).any()
    assert spadsr.simulate(rate[0].tolist(), exposure=EXPOSURE, sensor="spc3").shape == (64, 32)


def test_a_preset_simulates_any_size() -> None:
    counts = spadsr.simulate(np.full((3, 5), 1e5), exposure=spadsr.Exposure(1e-5, 1000), sensor="spc3")
    assert counts.shape == (3, 5)
    assert counts.mean() == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ([[1.0, -2.0]], r"rate\[0, 1\] is -2.0: expected finite rates"),
        ([[1.0, float("nan")]], r"rate\[0, 1\] is nan"),
        ([1.0], r"rate of shape \(1,\)"),
    ],
)
def test_impossible_rates_are_refused(rate: Any, words: str) -> None:
    with pytest.raises(spadsr.InputError, match=words):
        spadsr.simulate(rate, exposure=EXPOSURE, sensor="spc3")


def test_a_map_of_cycles_is_simulated() -> None:
    cycles = torch.tensor([[0, 4], [16, 64]])
    sensor = spadsr.Sensor("ideal", torch.ones(2, 2), torch.zeros(2, 2), 0.0, 1)
    counts = spadsr.simulate(np.full((2, 2), 1e9), exposure=spadsr.Exposure(10e-6, cycles), sensor=sensor)
    assert (counts == cycles.numpy()).all()


def test_a_map_of_one_number_is_restored_as_that_number(small_weights: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 17, (2, 12, 9))
    plain = spadsr.restore(counts, exposure=spadsr.Exposure(1e-5, 16), weights=small_weights)
    for cycles in (np.full((12, 9), 16), np.full((2, 12, 9), 16)):
        mapped = spadsr.restore(counts, exposure=spadsr.Exposure(1e-5, cycles), weights=small_weights)  # type: ignore[arg-type]
        np.testing.assert_allclose(mapped.rate, plain.rate, rtol=0.02, atol=0.01 * plain.rate.mean())  # bfloat16
        np.testing.assert_allclose(mapped.residual, plain.residual, rtol=0.02, atol=0.05)
        assert mapped.settings == plain.settings
        assert mapped.cycles is not None
        assert mapped.cycles.shape == (2, 12, 9)
    assert plain.cycles is None


def test_images_with_maps_of_their_own_are_restored_as_if_alone(small_weights: Path, tmp_path: Path) -> None:
    """And the maps are kept in results, one by one."""
    rng = np.random.default_rng(0)
    cycles = rng.integers(0, 65, (3, 12, 9))
    counts = rng.binomial(cycles, 0.3)
    together = spadsr.restore(counts, exposure=spadsr.Exposure(1e-5, cycles), weights=small_weights)  # type: ignore[arg-type]
    for image in range(3):
        exposure = spadsr.Exposure(1e-5, torch.from_numpy(cycles[image]))
        alone = spadsr.restore(counts[image], exposure=exposure, weights=small_weights)
        np.testing.assert_allclose(together[image].rate, alone.rate, rtol=0.02, atol=0.01 * alone.rate.mean())
        assert together[image].cycles is not None
        assert (together[image].cycles == cycles[image]).all()
        assert (alone.exposure.map == torch.from_numpy(cycles[image])).all()
    together.save(tmp_path / "a.sr.h5")
    together.save(tmp_path / "a.png")
    with spadsr.read_result(tmp_path / "a.sr.h5") as result:
        assert (result.read(0, 3).cycles == cycles).all()
        assert result[1].settings.cycles == cycles.max()


@pytest.mark.parametrize(
    ("cycles", "words"),
    [
        (np.full((8, 7), 16), r"cycles of shape \(8, 7\): expected one for each pixel, \(8, 8\)"),
        (np.full((8, 8), 1.5), r"cycles\[0, 0\] is 1.5: expected whole numbers"),
        (np.full((8, 8), -1), r"cycles\[0, 0\] is -1: expected whole numbers"),
        (np.full((8, 8), 4), r"counts\[0, 0\] is 5: expected 4 at most"),
        (np.zeros((8, 8)), "cycles is 0"),
    ],
)
def test_maps_of_cycles_that_cannot_be(cycles: np.ndarray, words: str) -> None:
    with pytest.raises(spadsr.InputError, match=words):
        spadsr.restore(COUNTS, exposure=spadsr.Exposure(1e-5, cycles))  # type: ignore[arg-type]


COUNTS = np.full((8, 8), 5)


@pytest.mark.parametrize(
    ("exposure", "words"),
    [
        ((1e-5, 64), "expected spadsr.Exposure"),
        (1e-5, "expected spadsr.Exposure"),
        (spadsr.Exposure(0.0, 64), "count_time is 0.0"),
        (spadsr.Exposure(float("nan"), 64), "count_time is nan"),
        (spadsr.Exposure(1e-320, 64), "count_time is 1e-320"),
        (spadsr.Exposure(1e-5, 0), "cycles is 0"),
        (spadsr.Exposure(1e-5, -1), "cycles is -1"),
    ],
)
def test_exposures_that_cannot_be(exposure: Any, words: str) -> None:
    with pytest.raises(spadsr.InputError, match=words):
        spadsr.restore(COUNTS, exposure=exposure)
    with pytest.raises(spadsr.InputError, match=words):
        spadsr.simulate(np.full((8, 8), 1e4), exposure=exposure, sensor="spc3")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": 4.0}, "scale 4.0: expected a whole number"),
        ({"sum": "1"}, "sum '1': expected a whole number"),
        ({"image": slice(0, 2)}, "image slice"),
        ({"sensor": 5}, "sensor 5: expected a sensor"),
        ({"weights": 5}, "weights 5: expected a name"),
        ({"orientations": 2.5}, "orientations 2.5: expected a whole number"),
    ],
)
def test_arguments_of_another_kind(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(spadsr.InputError, match=re.escape(words)):
        spadsr.restore(COUNTS, exposure=EXPOSURE, **wrong)


def test_masked_arrays_and_names_of_files_are_refused() -> None:
    with pytest.raises(spadsr.InputError, match="masked array"):
        spadsr.restore(np.ma.masked_greater(np.arange(64).reshape(8, 8), 20), exposure=EXPOSURE)
    with pytest.raises(spadsr.InputError, match=r"spadsr.open\('capture.h5'\)"):
        spadsr.restore("capture.h5")


def test_seeds_are_whole_numbers_in_a_range() -> None:
    rate = np.full((8, 8), 1e5)
    for seed in (1.5, "a", None, -1, 2**63):
        with pytest.raises(spadsr.InputError, match="seed"):
            spadsr.simulate(rate, exposure=EXPOSURE, sensor="spc3", seed=seed)  # type: ignore[arg-type]
    one, same = (spadsr.simulate(rate, exposure=EXPOSURE, sensor="spc3", seed=s) for s in (3, np.int64(3)))
    assert (one == same).all()


def test_counts_that_no_integer_holds_are_not_simulated() -> None:
    with pytest.raises(spadsr.InputError, match="2147483647 at most"):
        spadsr.simulate(np.full((4, 4), 1e4), exposure=spadsr.Exposure(1e-5, 2**30), sensor="spc3")


def test_a_recording_is_never_replaced_by_its_result(tmp_path: Path) -> None:
    path = tmp_path / "capture.h5"
    with CaptureWriter(path, (8, 8), np.uint8, Settings(10e-6, 64)) as writer:
        writer.append(np.full((1, 8, 8), 5, np.uint8))
    before = path.read_bytes()
    with spadsr.open(path) as capture:
        picture = spadsr.restore(capture)
    with pytest.raises(spadsr.InputError, match="is no result"):
        picture.save(path)
    assert path.read_bytes() == before
    picture.save(tmp_path / "a.sr.h5")
    picture.save(tmp_path / "a.sr.h5")  # a result may be replaced
    with spadsr.read_result(tmp_path / "a.sr.h5") as results:
        assert len(results) == 1
    with pytest.raises(spadsr.InputError, match="was closed"):
        results[0]


def test_stacks_have_images_and_pictures_are_true() -> None:
    stack = spadsr.restore(np.stack([COUNTS, COUNTS]), exposure=EXPOSURE)
    assert stack
    assert stack[0]
    with pytest.raises(spadsr.InputError, match="none of the 2 images"):
        stack[0:0]
    with pytest.raises(TypeError):
        stack[None]

"""What napari opens: its manifest, by napari's own rules, and the layers, which need no napari."""

from pathlib import Path

import numpy as np
import pytest

import spadsr
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from spadsr.files.napari_layers import Images, layers_of, reader_of

MANIFEST = Path(spadsr.__file__).with_name("napari.yaml")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path, counts = tmp_path / "a.h5", np.random.default_rng(0).integers(0, 9, (6, 16, 8)).astype(np.uint8)
    with CaptureWriter(path, (16, 8), "u1", Settings(1e-5, 8, frame_time=1e-3)) as to:
        to.append(counts)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # npe2 is written for an older pydantic
def test_the_manifest_is_valid_and_its_reader_is_found(capture: Path) -> None:
    npe2 = pytest.importorskip("npe2", reason="npe2 checks manifests; it comes with the extra `test`")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "spadsr"
    manager = npe2.PluginManager.instance()
    manager.register(manifest)
    try:
        assert [each.command for each in manager.iter_compatible_readers([str(capture)])] == ["spadsr.open"]
        [(data, properties, kind)] = npe2.read([str(capture)], stack=False)
    finally:
        manager.unregister("spadsr")
    assert (data.shape, properties["name"], kind) == ((6, 16, 8), "a.h5", "image")


def test_a_recording_is_a_layer_of_counts_in_native_pixels(capture: Path) -> None:
    [(data, properties, kind)] = layers_of(str(capture))
    with spadsr.open(capture) as opened:
        counts = opened.read(0, 6)
    assert kind == "image"
    np.testing.assert_array_equal(np.asarray(data), counts)
    assert (properties["scale"], properties["units"]) == ((1e-3, 1, 1), ("s", "pixel", "pixel"))
    assert properties["translate"] == (0, 0, 0)


def test_a_result_lies_on_its_recording(capture: Path, tmp_path: Path) -> None:
    picture = spadsr.restore(spadsr.open(capture), weights="tiny", sum=6, scale=2)
    picture.save(tmp_path / "a.sr.h5")
    (rate, properties, _), (uncertainty, hidden, _) = layers_of(str(tmp_path / "a.sr.h5"))
    with spadsr.read_result(tmp_path / "a.sr.h5") as written:
        np.testing.assert_array_equal(rate[0], written[0].rate)
        np.testing.assert_array_equal(uncertainty[0], written[0].uncertainty)
    assert (properties["visible"], hidden["visible"]) == (True, False)
    assert properties["metadata"]["unit"] == "counts/s per native pixel area"
    sides = {name: np.array(properties[name][1:]) for name in ("scale", "translate")}
    first, last = (sides["translate"] + sides["scale"] * np.array(place) for place in ((0, 0), (31, 15)))
    np.testing.assert_allclose(first - sides["scale"] / 2, -0.5)  # the upper left edge of native pixel (0, 0)
    np.testing.assert_allclose(last + sides["scale"] / 2, [15.5, 7.5])


def test_a_photon_cube_is_a_layer_of_bits(tmp_path: Path) -> None:
    bits = np.random.default_rng(1).integers(0, 2, (5, 64, 64)).astype(np.uint8)
    np.save(tmp_path / "cube.npy", np.packbits(bits, axis=2))
    [(data, _, _)] = layers_of(str(tmp_path / "cube.npy"))
    np.testing.assert_array_equal(np.asarray(data), bits)


def test_what_is_no_recording_is_left_to_other_readers(tmp_path: Path, capture: Path) -> None:
    (tmp_path / "notes.bin").write_bytes(b"")
    assert reader_of(str(tmp_path / "notes.bin")) is None
    assert reader_of(str(tmp_path / "none.h5")) is None
    assert reader_of([str(capture), str(capture)]) is None
    assert reader_of(str(capture)) is layers_of


@pytest.mark.parametrize("key", [2, -1, (3, slice(2, 5)), (slice(1, 6, 2), 4, slice(None)), slice(4, 4), slice(None)])
def test_images_are_indexed_as_an_array_is_and_only_those_are_read(key: object) -> None:
    array, seen = np.arange(6 * 7 * 8).reshape(6, 7, 8), set[int]()

    def read(start: int, stop: int) -> np.ndarray:
        seen.update(range(start, stop))
        return array[start:stop]

    images = Images(array.shape, array.dtype, read)
    np.testing.assert_array_equal(images[key], array[key])
    assert seen == set(np.atleast_1d(np.arange(6)[key[0] if isinstance(key, tuple) else key]).tolist())

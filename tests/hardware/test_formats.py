"""Recordings of other programs: what comes out is what lies in them, and what they do not say is asked for."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import png, save_mat5, save_mat73, save_pngs, save_raw, save_spc3, save_text
from numpy.typing import NDArray

from hardware.captures.capture import Capture, open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure


def counts(*shape: int, largest: int = 200, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(sum(shape)).integers(0, largest + 1, shape).astype(dtype)


def whole(capture: Capture, size: int | None = None) -> NDArray[Any]:
    return np.concatenate(list(capture.blocks(size)))


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(InputError, match=words) as caught, open_capture(path, **options) as capture:
        whole(capture)
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)


class TestSpc3:
    @given(images=st.integers(1, 5), counters=st.integers(1, 3), size=st.integers(1, 6), wide=st.booleans())
    @settings(max_examples=30)
    def test_every_counter_in_blocks_of_any_size(
        self, tmp_path_factory: pytest.TempPathFactory, images: int, counters: int, size: int, wide: bool
    ) -> None:
        held = counts(images, counters, 4, 6, dtype=np.uint16 if wide else np.uint8)
        path = save_spc3(tmp_path_factory.mktemp("spc3") / "a.spc3", held, summed=10 if wide else 1)
        for counter in range(counters):
            with open_capture(path, array=str(counter + 1)) as capture:
                np.testing.assert_array_equal(whole(capture, size), held[:, counter])
                assert capture.assumptions == ()

    def test_the_header_says_everything(self, tmp_path: Path) -> None:
        path = save_spc3(tmp_path / "a.spc3", counts(3, 1, 64, 32, dtype=np.uint16), corrected=1, duty=20)
        with open_capture(path) as capture:
            assert capture.exposure == Exposure(pytest.approx(1.04e-6), 10)  # type: ignore[arg-type]
            settings = capture.settings
            assert (settings.counter_bits, settings.saturation_value) == (9, 5110)
            assert settings.dead_time == pytest.approx(5e-8)
            assert settings.frame_time == pytest.approx(104e-6)  # ten times reading out, which takes longer
            assert (settings.corrected, settings.background_subtracted) == (True, False)
            assert capture.notes["serial_number"] == "SN-7"
            assert capture.notes["firmware"] == "2.15"
            assert "open for 20 %" in capture.assumptions[0]

    def test_a_single_frame_in_eight_bits_is_full_at_255(self, tmp_path: Path) -> None:
        with open_capture(save_spc3(tmp_path / "a.spc3", counts(2, 1, 4, 4, largest=255), summed=1)) as capture:
            assert (capture.settings.counter_bits, capture.settings.saturation_value) == (8, 255)
            assert capture.dtype == np.uint8

    def test_old_headers_give_no_number_of_pixels(self, tmp_path: Path) -> None:
        held = counts(2, 1, 64, 32, dtype=np.uint16)
        with open_capture(save_spc3(tmp_path / "a.spc3", held, pixels=0)) as capture:
            np.testing.assert_array_equal(whole(capture), held[:, 0])
        with open_capture(save_spc3(tmp_path / "b.spc3", held[:, :, :32], rows=64, pixels=1024)) as capture:
            assert capture.shape == (2, 32, 32)

    @pytest.mark.parametrize("cut", [1, 100, 4095])
    def test_a_recording_that_was_never_stopped(self, tmp_path: Path, cut: int) -> None:
        held = counts(5, 1, 64, 32, dtype=np.uint16)
        path = save_spc3(tmp_path / "a.spc3", held, frames=0)
        path.write_bytes(path.read_bytes()[:-cut])
        with open_capture(path) as capture:
            np.testing.assert_array_equal(whole(capture), held[:4, 0])
            assert "ends within an image" in capture.assumptions[0]
            assert "says 0 images, the size says 4" in capture.assumptions[1]

    @given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), size=st.integers(1, 16))
    @settings(max_examples=20)
    def test_several_files_are_one_recording(
        self, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], size: int
    ) -> None:
        folder, held = tmp_path_factory.mktemp("split"), counts(sum(sizes), 2, 4, 6)
        starts = np.cumsum([0, *sizes])
        for number, (start, stop) in enumerate(pairwise(starts), 1):
            save_spc3(folder / f"run{'' if number == 1 else number}.spc3", held[start:stop])
        with open_capture(folder / "run.spc3", array="2") as capture:
            np.testing.assert_array_equal(whole(capture, size), held[:, 1])
            assert "one recording: run.spc3, run2.spc3" in capture.assumptions[0]

    def test_another_recording_beside_it_is_not_part_of_it(self, tmp_path: Path) -> None:
        held = counts(2, 1, 4, 6)
        path = save_spc3(tmp_path / "run.spc3", held)
        save_spc3(tmp_path / "run2.spc3", held, date=b"another day")
        with open_capture(path) as capture:
            assert capture.shape[0] == 2

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"bits": 12}, "12 bits"),
            ({"counters": 4}, "4 counters"),
            ({"counters": 2}, "choose 1 or 2"),
            ({"columns": 0}, "damaged"),
            ({"pixels": 7}, "7 pixels in rows of 6"),
            ({"averaged": 1}, "averages"),
            ({"exposure": 0}, "count_time is 0"),
            ({"summed": 0}, "cycles is 0"),
            ({"rows": 255, "columns": 255, "pixels": 0}, "holds 0 images"),
        ],
    )
    def test_headers_that_lie(self, tmp_path: Path, fields: dict[str, int], words: str) -> None:
        refused(save_spc3(tmp_path / "a.spc3", counts(2, 1, 4, 6), **fields), words)

    def test_a_cut_header_and_a_counter_that_is_not_there(self, tmp_path: Path) -> None:
        path = save_spc3(tmp_path / "a.spc3", counts(2, 1, 4, 6))
        refused(path, "choose 1", array="2")
        path.write_bytes(path.read_bytes()[:1000])
        refused(path, "1000 of the 1032 bytes")

    def test_counts_less_a_background_may_be_negative_and_are_refused(self, tmp_path: Path) -> None:
        refused(save_spc3(tmp_path / "a.spc3", np.full((1, 1, 4, 4), -3, np.int16), signed=1), "holds the count -3")


class TestPng:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("names", ["frame_{:04d}.png", "{}.png", "b1_{}_a.PNG"])
    def test_a_folder_is_a_stack_in_the_order_of_the_numbers(self, tmp_path: Path, dtype: Any, names: str) -> None:
        held = counts(12, 6, 5, dtype=dtype)
        with open_capture(save_pngs(tmp_path / "run", held, names), cycles=256, counter_bits=1) as capture:
            assert capture.dtype == dtype
            np.testing.assert_array_equal(whole(capture, 5), held)

    def test_gaps_in_the_numbers_are_told(self, tmp_path: Path) -> None:
        folder = save_pngs(tmp_path / "run", counts(5, 6, 5))
        (folder / "frame_0003.png").unlink()
        with open_capture(folder) as capture:
            assert capture.shape[0] == 4
            assert "1 numbers between the first and the last" in capture.assumptions[0]

    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_few_bits_are_not_stretched(self, tmp_path: Path, bits: int) -> None:
        levels = counts(8, 8, largest=(1 << bits) - 1)
        packed = np.packbits(((levels[..., None] >> np.arange(bits)[::-1]) & 1).astype(bool).reshape(8, -1), axis=-1)
        lines = np.concatenate([np.zeros((8, 1), np.uint8), packed], axis=-1)
        (tmp_path / "1.png").write_bytes(png(8, 8, bits, lines.tobytes()))
        (tmp_path / "2.png").write_bytes(png(8, 8, bits, lines.tobytes()))
        with open_capture(tmp_path) as capture:
            np.testing.assert_array_equal(whole(capture), [levels, levels])

    def test_folders_that_are_no_stack(self, tmp_path: Path) -> None:
        folder = save_pngs(tmp_path / "run", counts(3, 6, 5))
        save_pngs(tmp_path / "other", counts(1, 5, 5), "frame_{:02d}.png", 3)
        (tmp_path / "other/frame_03.png").rename(folder / "frame_03.png")
        refused(folder, "have the same number")
        (folder / "frame_03.png").rename(folder / "frame_0004.png")
        refused(folder, "differs in size")
        (folder / "frame_0004.png").rename(folder / "mean.png")
        refused(folder, "mean.png has no number")

    def test_links_out_of_the_folder_are_not_followed(self, tmp_path: Path) -> None:
        folder = save_pngs(tmp_path / "run", counts(3, 6, 5))
        (folder / "frame_0002.png").rename(tmp_path / "outside.png")
        (folder / "frame_0002.png").symlink_to(tmp_path / "outside.png")
        refused(folder, "a link")

    def test_images_that_lie(self, tmp_path: Path) -> None:
        lie = tmp_path / "a.png"
        lie.write_bytes(png(1 << 20, 1 << 20, 16, b""))
        refused(lie, "images of 1048576 x 1048576")
        lie.write_bytes(png(100, 100, 8, b"\0" * 50))
        refused(lie, "cannot be unpacked")
        image = bytearray(png(8, 8, 8, b"\1" * 72))
        image[45] ^= 1
        lie.write_bytes(image)
        refused(lie, "damaged")
        lie.write_bytes(png(8, 8, 8, b"\1" * 72).replace(b"\x08\x00\x00\x00\x00", b"\x08\x03\x00\x00\x00"))
        refused(lie, "in colour")  # of a palette
        cv2.imwrite(str(lie), counts(8, 8, 3, dtype=np.uint8))
        refused(lie, "in colour")


class TestPhotonCube:
    def test_bits_come_out_in_blocks_of_any_size(self, save: Any) -> None:
        frames = counts(9, 64, 96, largest=1)
        path = save("a.npy", np.packbits(frames, axis=-1))
        for layout, said in (("packed", 0), (None, 1)):
            with open_capture(path, layout=layout, count_time=1e-6) as capture:
                assert (capture.settings.counter_bits, capture.exposure) == (1, Exposure(1e-6, 1))
                np.testing.assert_array_equal(whole(capture, 4), frames)
                assert len(capture.assumptions) == said
        with open_capture(path, layout="counts") as capture:
            assert capture.shape == (9, 64, 12)

    @pytest.mark.parametrize("axis", [1, 2])
    @pytest.mark.parametrize("channels", [0, 1, 3])
    def test_cubes_packed_either_way_with_channels(self, save: Any, axis: int, channels: int) -> None:
        frames = counts(9, 64, 96, max(channels, 1), largest=1)
        cube = np.packbits(frames, axis=axis)
        path = save("a.npy", cube if channels else cube[..., 0])
        for layout in (None, "packed" if axis == 2 else "packed-rows"):
            for channel in range(channels) if channels > 1 else [None]:
                name = None if channel is None else str(channel + 1)
                with open_capture(path, layout=layout, array=name) as capture:
                    assert (capture.settings.counter_bits, capture.exposure.cycles) == (1, 1)
                    np.testing.assert_array_equal(whole(capture, 4), frames[..., channel or 0])
        if channels == 3:
            refused(path, "images of 3 channels; choose 1 or 2 or 3")
            refused(path, "images of 3 channels; choose 1 or 2 or 3", array="4")

    @pytest.mark.parametrize("rate", [0.003, 0.1, 0.5, 0.95])
    def test_a_cube_is_told_from_counts(self, save: Any, rate: float) -> None:
        rng = np.random.default_rng(2)
        cube = np.packbits(rng.random((20, 512, 512)) < rate, axis=-1)
        with open_capture(save("a.npy", cube)) as capture:
            assert capture.shape == (20, 512, 512)
        with open_capture(save("b.npy", rng.poisson(60 * rate, (20, 512, 64)).astype(np.uint8))) as capture:
            assert capture.shape == (20, 512, 64)

    def test_only_bytes_can_be_packed(self, save: Any) -> None:
        refused(save("a.npy", counts(2, 64, 8, dtype=np.uint16)), "packed frames are uint8", layout="packed")
        refused(save("a.npy", counts(2, 8, 64, dtype=np.uint16)), "packed frames are uint8", layout="packed-rows")
        refused(save("a.tif", counts(2, 64, 8)), "layout packed is none of a TIFF stack", layout="packed")
        refused(save("a.tif", counts(2, 64, 8)), "holds one array", array="a")

    def test_a_cube_larger_than_memory_is_never_unpacked_whole(self, tmp_path: Path) -> None:
        """200,000 frames of 512 x 512, 52 GB unpacked: a sparse file that is opened and read at its end."""
        path = tmp_path / "a.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (200_000, 512, 64)).flush()
        with open_capture(path, layout="packed") as capture:
            assert capture.read(199_990, 200_000).shape == (10, 512, 512)


class TestSpad512:
    @pytest.mark.parametrize("end", [b"", b"DONE"])
    def test_frames_come_out_upright(self, tmp_path: Path, end: bytes) -> None:
        frames = counts(3, 512, 512, largest=1)
        with open_capture(save_raw(tmp_path / "RAW00.bin", frames, end)) as capture:
            assert (capture.settings.counter_bits, capture.exposure.cycles) == (1, 1)
            np.testing.assert_array_equal(whole(capture, 2), frames)

    def test_the_first_bit_sent_is_the_lower_left_pixel(self, tmp_path: Path) -> None:
        (tmp_path / "RAW.bin").write_bytes(b"\x80" + bytes(512 * 64 - 1))
        with open_capture(tmp_path / "RAW.bin") as capture:
            assert np.argwhere(whole(capture)).tolist() == [[0, 511, 0]]

    @pytest.mark.parametrize("size", [1, 4, 512 * 64 + 3, 512 * 64 - 1])
    def test_other_sizes_are_refused(self, tmp_path: Path, size: int) -> None:
        (tmp_path / "RAW.bin").write_bytes(bytes(size))
        refused(
            tmp_path / "RAW.bin", "expected whole images.*give the size of another array as layout ROWSxCOLUMNSxBITS"
        )

    @pytest.mark.parametrize(("bits", "dtype"), [(1, "u1"), (8, "u1"), (16, "<u2"), (32, "<u4")])
    def test_another_array_or_depth_is_read_as_it_is_said(self, tmp_path: Path, bits: int, dtype: str) -> None:
        held = counts(5, 24, 16, largest=1 if bits == 1 else 200, dtype=dtype)
        stored = np.packbits(held, axis=-1) if bits == 1 else held
        (tmp_path / "a.bin").write_bytes(stored.tobytes())
        with open_capture(tmp_path / "a.bin", layout=f"24x16x{bits}") as capture:
            np.testing.assert_array_equal(whole(capture, 2), held)
            assert capture.settings.counter_bits == 1
        refused(tmp_path / "a.bin", "expected 1, 8, 16, 32 bits", layout="24x16x12")
        refused(tmp_path / "a.bin", "images of 0 x 16", layout="0x16x8")
        refused(tmp_path / "a.bin", "layout 24x16 is none of", layout="24x16")

    def test_counts_of_eight_bits_are_refused_and_read_when_told(self, tmp_path: Path) -> None:
        seen = 0.02 + 0.2 * (np.add.outer(np.arange(512) // 64, np.arange(512) // 64) % 2)
        image = np.random.default_rng(0).binomial(255, seen).astype(np.uint8)
        image.tofile(tmp_path / "a.bin")
        refused(tmp_path / "a.bin", "look like counts, not like packed frames of 1 bit")
        with open_capture(tmp_path / "a.bin", layout="512x512x8") as capture:
            np.testing.assert_array_equal(whole(capture), image[None])
        with open_capture(tmp_path / "a.bin", layout="spad512") as capture:
            assert capture.shape == (8, 512, 512)

    @pytest.mark.parametrize(("rows", "columns"), [(256, 512), (240, 320), (256, 256)])
    def test_frames_of_another_array_are_doubted(self, tmp_path: Path, rows: int, columns: int) -> None:
        rng = np.random.default_rng(0)
        seen = 0.4 * np.exp(-np.add.outer((np.arange(rows) - 80) ** 2, (np.arange(columns) - 90) ** 2) / 5000)
        images = 75 if rows == 240 else 16
        frames = [np.packbits(rng.random((rows, columns)) < seen, axis=-1) for _ in range(images)]
        whole_frames = np.stack(frames).tobytes()
        (tmp_path / "a.bin").write_bytes(whole_frames[: len(whole_frames) // 32768 * 32768])
        with open_capture(tmp_path / "a.bin") as capture:
            assert f"as those of frames of {rows} x {columns} pixels" in capture.assumptions[1]

    @pytest.mark.parametrize("images", [1, 3, 20])
    @pytest.mark.parametrize("scene", ["flat", "dark", "slit", "lamp", "vignette", "columns"])
    def test_its_own_frames_are_not_doubted(self, tmp_path: Path, scene: str, images: int) -> None:
        rng, (y, x) = np.random.default_rng(1), np.mgrid[:512, :512]
        seen = {
            "flat": np.full((512, 512), 0.3),
            "dark": np.where(rng.random((512, 512)) < 0.02, rng.random((512, 512)), 1e-4),
            "slit": np.where(abs(y - 301) < 2, 0.9, 5e-4),  # along the columns as they are sent
            "lamp": 0.5 * np.exp(-((y - 100) ** 2 + (x - 300) ** 2) / 3000),
            "vignette": 0.5 * np.exp(-((y - 256) ** 2 + (x - 256) ** 2) / 45000),
            "columns": 0.15 * (1 + np.sin(y / 20)),
        }[scene]
        frames = (rng.random((images, 512, 512)) < seen).astype(np.uint8)
        with open_capture(save_raw(tmp_path / "a.bin", frames)) as capture:
            assert [each for each in capture.assumptions if "alike" in each] == []
            assert capture.shape == frames.shape


@pytest.mark.parametrize("version", ["5", "5 packed", "7.3"])
class TestMat:
    def saved(self, path: Path, version: str, **arrays: Any) -> Path:
        return save_mat73(path, **arrays) if version == "7.3" else save_mat5(path, "packed" in version, **arrays)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, np.float32])
    def test_images_are_the_last_dimension_unless_said(self, tmp_path: Path, version: str, dtype: Any) -> None:
        held = counts(4, 5, 6, dtype=dtype)
        path = self.saved(tmp_path / "a.mat", version, counts=held)
        with open_capture(path) as capture:
            np.testing.assert_array_equal(whole(capture, 4), held.transpose(2, 0, 1))
            assert "layout is images-first" in capture.assumptions[0]
        with open_capture(path, layout="images-first") as capture:
            np.testing.assert_array_equal(whole(capture, 3), held)
        image = self.saved(tmp_path / "b.mat", version, image=held[0])
        with open_capture(image) as capture:
            np.testing.assert_array_equal(whole(capture), held[:1])

    def test_one_of_several_arrays_is_chosen_by_name(self, tmp_path: Path, version: str) -> None:
        arrays = {"dark": counts(4, 5), "flat": counts(4, 6), "time": np.array([[1.5]])}
        path = self.saved(tmp_path / "a.mat", version, **arrays)
        refused(path, "2 arrays; choose one of dark, flat")
        refused(path, "no array hot; choose one", array="hot")
        with open_capture(path, array="flat") as capture:
            np.testing.assert_array_equal(whole(capture)[0], arrays["flat"])

    @pytest.mark.parametrize("value", [0.5, np.inf, 1e300])
    def test_numbers_that_are_not_counts(self, tmp_path: Path, version: str, value: float) -> None:
        array = np.ones((4, 5))
        array[2, 3] = value
        refused(self.saved(tmp_path / "a.mat", version, rate=array), "not whole")
        refused(self.saved(tmp_path / "b.mat", version, rate=np.array([[value]])), "no numeric array")


def test_matlab_4(tmp_path: Path) -> None:
    path, held = tmp_path / "a.mat", counts(6, 5)
    for dtype in (np.float64, np.uint8, np.int16, np.float32, np.int32, np.uint16):
        scipy.io.savemat(path, {"note": "words", "counts": held.astype(dtype)}, format="4")
        with open_capture(path) as capture:
            np.testing.assert_array_equal(whole(capture), held[None])
    scipy.io.savemat(path, {"dark": held, "flat": held[1:]}, format="4")
    refused(path, "2 arrays; choose one of dark, flat")
    with open_capture(path, array="flat") as capture:
        np.testing.assert_array_equal(whole(capture), held[None, 1:])
    path.write_bytes(path.read_bytes()[:-3])
    refused(path, "damaged")


def test_octave_files_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_text("# Created by Octave 8.4.0\n# name: counts\n# type: matrix\n 1 2\n 3 4\n")
    refused(tmp_path / "a.mat", "Octave's own format; save it with")


def test_matlab_files_cut_off(tmp_path: Path) -> None:
    path = save_mat5(tmp_path / "a.mat", counts=counts(40, 50))
    path.write_bytes(path.read_bytes()[:-5])
    refused(path, "truncated")


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_text(tmp_path: Path, separator: str) -> None:
    image = counts(6, 5, largest=3000, dtype=np.uint16)
    with open_capture(save_text(tmp_path / "frame.007", image, separator)) as capture:
        np.testing.assert_array_equal(whole(capture)[0], image)
    refused(save_text(tmp_path / "difference.out", image.astype(int) - 1000), "holds the count -")
    (tmp_path / "ragged.out").write_text("1 2 3\n4 5\n")
    refused(tmp_path / "ragged.out", "damaged or not a readable text image: line 2 has 2 numbers")


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "frame.007"])
@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", ";"])
@pytest.mark.parametrize("style", ["%d", "%.18e", "%g", "%.1f"])
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig", "utf-16"])
def test_numbers_however_they_are_written(tmp_path: Path, name: str, separator: str, style: str, mark: str) -> None:
    if mark == "utf-16" and name == "frame.007":
        return  # as many zeros as numbers do not look like text
    image, path = counts(6, 5, largest=3000, dtype=np.uint16), tmp_path / name
    np.savetxt(path, image, style, separator, header="exposure 10 us, 16 frames", newline="\r\n")
    path.write_bytes(path.read_text("utf-8").encode(mark))
    with open_capture(path) as capture:
        assert capture.format == "text image"
        np.testing.assert_array_equal(whole(capture)[0], image)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("row,a,b\n1,2,3\n", "line 1 holds 'row'"),
        (",0,1\n0,5,6\n", "line 1 holds ''"),
        ("1 2\n\n3 4.5\n", "image 0 holds 4.5, which is not whole"),
        ("# only words\n", "without numbers"),
        ("\n".join(["0,1,2,3,4,5,6,7", "5,0,0,2,1,1,0,0"]), "0, 1, 2, ...: numbers of a table"),
    ],
)
def test_text_that_is_no_image(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    refused(tmp_path / "a.csv", words)


def test_gaps_between_sequence_numbers_are_losses(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.h5", np.array([5, 6, 9, 10, 20])
    with CaptureWriter(path, (2, 2), "u1", Settings(1e-5, counter_bits=8)) as writer:
        writer.append(np.ones((5, 2, 2), np.uint8), sequence_number=numbers)
    with open_capture(path) as capture:
        assert capture.lost == 11
        assert capture.assumptions == ("11 images were lost while recording (sequence numbers)",)
        np.testing.assert_array_equal(capture.sequence_number(1, 4), numbers[1:4])
        assert capture.summed(2).sequence_number(0, 1) is None


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_counters_that_begin_again_go_on(tmp_path: Path, bits: int) -> None:
    numbers = np.concatenate([np.arange(200), np.arange(230, 700), np.arange(705, 710)]) + (1 << bits) - 199
    path, images = tmp_path / "a.h5", len(numbers)
    with CaptureWriter(path, (2, 2), "u1", Settings(1e-5, counter_bits=8)) as writer:
        writer.append(np.ones((images, 2, 2), np.uint8), sequence_number=numbers % (1 << bits))
    with open_capture(path) as capture:
        assert capture.lost == 35
        said = f"sequence numbers begin again from 0 after {(1 << bits) - 1}; they are taken to go on"
        assert capture.assumptions == (said, "35 images were lost while recording (sequence numbers)")
        np.testing.assert_array_equal(capture.sequence_number(0, images), numbers)
        np.testing.assert_array_equal(capture.sequence_number(195, 205), numbers[195:205])


@pytest.mark.parametrize(("numbers", "words"), [([1, 2, 2, 4], "of image 2 is no larger"), ([4, 3, 2, 1], "correct")])
def test_sequence_numbers_that_go_back(tmp_path: Path, numbers: list[int], words: str) -> None:
    path = tmp_path / "a.h5"
    with CaptureWriter(path, (2, 2), "u1", Settings(1e-5, counter_bits=8)) as writer:
        writer.append(np.ones((4, 2, 2), np.uint8), sequence_number=np.array(numbers))
    with pytest.raises(InputError, match=words), open_capture(path) as capture:
        capture.sequence_number(0, 4)


#: What is no recording of counts, and why.
NOT_COUNTS = {
    "alligator_layout_8_gates.h5": "without counts",  # a dataset for every gate: they must be asked for
    "darkcounts.jld2": "not whole",  # -log(1 - mean)
    "nl_frame.mat": "not whole",  # averages
    "diff.out": "count -6",  # differences
    "diff2.out": "count -1",
    "diff2m1.out": "count -3",
    "sig-ref.out": "count -4",
}


def test_public_recordings(shared: Path) -> None:
    """All that hold counts open and are read; those that hold rates or differences are refused."""
    files = [path for path in sorted((shared / "data/real").rglob("*")) if path.is_file()]
    recordings = [path for path in files if path.suffix not in (".md", ".jpg") and "LICEN" not in path.name]
    assert len(recordings) > 80
    for path in recordings:
        if path.name in NOT_COUNTS:
            refused(path, NOT_COUNTS[path.name])
            continue
        with open_capture(path) as capture:
            assert 0 < whole(capture).max() <= capture.settings.saturation_value


def test_public_dark_counts_of_a_32_by_64_array_in_matlab(shared: Path) -> None:
    with open_capture(shared / "data/real/bianlab/count_dark.mat", cycles=60_000, count_time=20e-9) as capture:
        assert (capture.shape, capture.exposure) == ((1, 64, 32), Exposure(20e-9, 60_000))
        assert whole(capture).max() == 112

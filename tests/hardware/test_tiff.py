"""TIFF files: images come out in the order that the file says of its axes, or their choice is asked for."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from hardware.captures.capture import open_capture
from hardware.parsing import lzw, micro_manager
from noise_model.errors import InputError

RNG = np.random.default_rng(0)
#: T, C, Y, X; every image differs.
TWO = RNG.integers(0, 200, (5, 2, 6, 7)).astype(np.uint16)
PLAIN: dict[str, Any] = {"photometric": "minisblack"}


def read(path: Path, **options: Any) -> NDArray[Any]:
    with open_capture(path, **options) as capture:
        whole = np.concatenate(list(capture.blocks(2)))
        np.testing.assert_array_equal(capture.read(1, capture.shape[0]), whole[1:])
        return whole


def refused(path: Path, words: str, **options: Any) -> str:
    with pytest.raises(InputError, match=words) as caught, open_capture(path, **options) as capture:
        list(capture.blocks())
    assert "\n" not in str(caught.value)
    return caught.value.arguments[0] if caught.value.arguments else ""


@pytest.mark.parametrize(
    ("how", "axes"),
    [({"imagej": True}, "TCYX"), ({"imagej": True}, "ZCYX")]  # ImageJ has one order of axes
    + [
        (how, axes)
        for how in ({"ome": True}, {}, {"ome": True, "compression": "zlib"})
        for axes in ("TCYX", "CTYX", "ZCYX", "CZYX")
    ],
    ids=str,
)
def test_channels_are_chosen_and_never_taken_for_time(tmp_path: Path, how: dict[str, Any], axes: str) -> None:
    path, first = tmp_path / "a.tif", axes[0] == "C"
    stored = TWO.swapaxes(0, 1) if first else TWO
    tifffile.imwrite(path, stored, **PLAIN, **how, metadata={"axes": axes})
    assert refused(path, "2 channels; choose 1.* or 2") == "channel"
    assert refused(path, "no channel 3; choose 1.* or 2", channel=3) == "channel"
    for channel in (0, 1):
        np.testing.assert_array_equal(read(path, channel=channel + 1), TWO[:, channel])
    with open_capture(path, channel="2") as capture:
        assert "channel 2" in capture.assumptions[0]


def test_channels_and_positions_have_names(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, shift in (("left", 0), ("right", 7)):
            writer.write(
                TWO + shift, **PLAIN, metadata={"axes": "TCYX", "Name": name, "Channel": {"Name": ["blue", "red"]}}
            )
    assert refused(path, r"2 positions; choose 1 \(left\) or 2 \(right\)") == "position"
    assert refused(path, r"2 channels; choose 1 \(blue\) or 2 \(red\)", position="right") == "channel"
    np.testing.assert_array_equal(read(path, position="right", channel="blue"), TWO[:, 0] + 7)
    np.testing.assert_array_equal(read(path, position=1, channel=2), TWO[:, 1])


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}, {}], ids=str)
def test_slices_beside_time_are_chosen(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO, **PLAIN, **how, metadata={"axes": "TZYX"})
    assert refused(path, "2 slices; choose 1 or 2") == "slice"
    np.testing.assert_array_equal(read(path, slice=2), TWO[:, 1])


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}, {}], ids=str)
@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_the_only_axis_is_that_of_the_images(tmp_path: Path, how: dict[str, Any], axes: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO[:, 0], **PLAIN, **how, metadata={"axes": axes})
    np.testing.assert_array_equal(read(path), TWO[:, 0])


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}], ids=str)
def test_few_channels_are_channels_and_many_without_names_are_images(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO[:3, 0], **PLAIN, **how, metadata={"axes": "CYX"})
    refused(path, "3 channels; choose 1 or 2 or 3")
    with open_capture(path, channel=3) as capture:
        np.testing.assert_array_equal(capture.read(0, 1)[0], TWO[2, 0])
    tifffile.imwrite(path, TWO[:, 0], **PLAIN, **how)  # what tifffile writes of a stack when it is told no axes
    np.testing.assert_array_equal(read(path), TWO[:, 0])
    with open_capture(path) as capture:
        assert "called channels" in capture.assumptions[0]


def test_axes_without_a_choice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO, **PLAIN)
    refused(path, "images along axis 1 and axis 2")
    tifffile.imwrite(path, TWO, **PLAIN, metadata={"axes": "THYX"})
    refused(path, "images along time and lifetime")


@pytest.mark.parametrize("pages", [1, 2])
def test_appended_pages_are_one_stack(tmp_path: Path, pages: int) -> None:
    path, frames = tmp_path / "a.tif", TWO[:4, 0]
    for start in range(0, 4, pages):
        tifffile.imwrite(path, frames[start : start + pages].squeeze(), append=start > 0, **PLAIN)
    np.testing.assert_array_equal(read(path), frames)
    for start in range(0, 4, 2):
        tifffile.imwrite(path, TWO[start : start + 2], append=start > 0, **PLAIN, metadata={"axes": "TCYX"})
    assert refused(path, "2 channels") == "channel"
    np.testing.assert_array_equal(read(path, channel=2), TWO[:4, 1])


@pytest.mark.parametrize("codec", ["lzw", "zlib", "zstd", "lzma", "packbits"])
@pytest.mark.parametrize("predictor", [False, True])
def test_compressions_that_keep_counts(tmp_path: Path, codec: str, predictor: bool) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO[:, 0], **PLAIN, compression=codec, predictor=predictor)
    np.testing.assert_array_equal(read(path), TWO[:, 0])


def test_a_page_is_unpacked_no_further_than_it_is_large(tmp_path: Path) -> None:
    path, packed = tmp_path / "a.tif", imagecodecs.lzw_encode(bytes(48 << 20))
    tifffile.imwrite(path, iter([packed]), shape=(8, 8), dtype=np.uint8, compression="lzw", **PLAIN)
    script = (
        "import resource, sys; from hardware.captures.capture import open_capture, InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: print(open_capture(sys.argv[1]).read(0, 1).sum())\n"
        "except InputError: print(0)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", script, path], env=environment, capture_output=True, check=True)
    total, kilobytes = map(int, said.stdout.split())
    assert total == 0
    assert kilobytes < 30_000


@pytest.mark.parametrize("dtype", [np.uint8, np.dtype(">u2"), np.uint32])
@pytest.mark.parametrize("rows", [1, 3, 90])
@pytest.mark.parametrize("predictor", [False, True])
def test_lzw_of_any_length(tmp_path: Path, dtype: Any, rows: int, predictor: bool) -> None:
    """Long enough for all widths of code, and for tables that are full."""
    path, counts = tmp_path / "a.tif", np.random.default_rng(1).poisson(3, (2, 90, 300)).astype(dtype)
    how: dict[str, Any] = {"compression": "lzw", "predictor": predictor, "rowsperstrip": rows}
    tifffile.imwrite(path, counts, **PLAIN, **how, byteorder=">" if dtype == np.dtype(">u2") else "<")
    np.testing.assert_array_equal(read(path), counts)


@pytest.mark.parametrize("whole", [bytes(5000), bytes(range(256)) * 40, np.random.default_rng(0).bytes(20_000)])
def test_lzw_of_damaged_streams(whole: bytes) -> None:
    packed, rng = imagecodecs.lzw_encode(whole), np.random.default_rng(0)
    np.testing.assert_array_equal(lzw.unpacked(packed, len(whole)), np.frombuffer(whole, np.uint8))
    for _ in range(200):
        damaged = bytearray(packed)
        damaged[rng.integers(len(packed))] ^= 1 << rng.integers(8)
        try:
            assert lzw.unpacked(bytes(damaged), len(whole)).size == len(whole)
        except ValueError as error:
            said = str(error)
            if not said.startswith("LZW: "):
                raise
    with pytest.raises(ValueError, match="of 5001 bytes"):
        lzw.unpacked(imagecodecs.lzw_encode(bytes(5000)), 5001)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_floating_point_numbers_are_counts(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO[:, 0].astype(dtype), **PLAIN)
    np.testing.assert_array_equal(read(path), TWO[:, 0])
    tifffile.imwrite(path, TWO[:, 0] + dtype(0.5), **PLAIN)
    refused(path, "not whole")


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("alpha", [False, True])
def test_grey_images_stored_in_colour(tmp_path: Path, planes: str, alpha: bool) -> None:
    path, grey = tmp_path / "a.tif", TWO[:, 0]
    samples = [grey, grey, grey] + ([np.full_like(grey, 65535)] if alpha else [])
    axis = 1 if planes == "separate" else -1
    how: dict[str, Any] = {"photometric": "rgb", "planarconfig": planes, "compression": "zlib"}
    how |= {"extrasamples": ["unassalpha"]} if alpha else {}
    tifffile.imwrite(path, np.stack(samples, axis), **how)
    np.testing.assert_array_equal(read(path), grey)
    samples[1] = grey + 1
    tifffile.imwrite(path, np.stack(samples, axis), **how)
    refused(path, "in colour")


def ome(images: str, uuid: str) -> str:
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<?xml version="1.0"?><OME xmlns="{namespace}" UUID="{uuid}">{images}</OME>'


def split_recording(folder: Path, positions: int = 1) -> list[Path]:
    """`TWO` over two files for each position, as Micro-Manager splits it: time by time, each file with the same XML."""
    names = [[f"run_Pos{p}.ome.tif", f"run_Pos{p}_1.ome.tif"] for p in range(positions)]
    images = ""
    for p in range(positions):
        data = ""
        for t in range(5):
            for c in range(2):
                number, page = divmod(2 * t + c, 6)
                data += f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="0" IFD="{page}" PlaneCount="1">'
                data += f'<UUID FileName="{names[p][number]}">urn:uuid:{p}{number}</UUID></TiffData>'
        pixels = 'DimensionOrder="XYCZT" Type="uint16" SizeX="7" SizeY="6" SizeZ="1" SizeC="2" SizeT="5"'
        images += f'<Image ID="Image:{p}" Name="Pos{p}"><Pixels ID="Pixels:{p}" {pixels}>{data}</Pixels></Image>'
    written = []
    for p in range(positions):
        for number, name in enumerate(names[p]):
            pages = TWO.reshape(10, 6, 7)[6 * number : 6 * number + 6] + p
            xml = ome(images, f"urn:uuid:{p}{number}").encode()
            tifffile.imwrite(folder / name, pages, **PLAIN, metadata=None, description=xml)
            written.append(folder / name)
    return written


def test_a_recording_over_several_files_is_read_whole(tmp_path: Path) -> None:
    files = split_recording(tmp_path)
    for path in (*files, tmp_path):
        refused(path, "2 channels; choose")
        for channel in (0, 1):
            np.testing.assert_array_equal(read(path, channel=channel + 1), TWO[:, channel])
    with open_capture(files[0], channel=1) as capture:
        assert "one recording: run_Pos0.ome.tif, run_Pos0_1.ome.tif" in capture.assumptions[0]
    files[1].unlink()
    refused(files[0], "run_Pos0_1.ome.tif belongs to this recording; copy it into the same folder", channel=1)


def test_a_file_of_one_position_is_of_that_position(tmp_path: Path) -> None:
    files = split_recording(tmp_path, positions=2)
    assert refused(tmp_path, r"2 positions; choose 1 \(Pos0\) or 2 \(Pos1\)", channel=1) == "position"
    np.testing.assert_array_equal(read(files[2], channel=1), TWO[:, 0] + 1)
    np.testing.assert_array_equal(read(files[2], channel=1, position="Pos0"), TWO[:, 0])
    files[0].unlink()
    np.testing.assert_array_equal(read(files[2], channel=1), TWO[:, 0] + 1)
    refused(files[2], "belongs to this recording", channel=1, position="Pos0")


def test_a_file_that_another_describes(tmp_path: Path) -> None:
    files = split_recording(tmp_path)
    xml = ome('<BinaryOnly MetadataFile="run_Pos0.ome.tif" UUID="urn:uuid:00"/>', "urn:uuid:01").encode()
    tifffile.imwrite(files[1], TWO.reshape(10, 6, 7)[6:], **PLAIN, metadata=None, description=xml)
    for path in files:
        np.testing.assert_array_equal(read(path, channel=2), TWO[:, 1])
    files[0].unlink()
    refused(files[1], "run_Pos0.ome.tif describes this recording")


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/secret.tif", "a\\secret.tif", "C:secret.tif"])
def test_files_elsewhere_are_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = split_recording(tmp_path / "in")[0]
    tifffile.imwrite(tmp_path / "secret.tif", TWO.reshape(10, 6, 7)[6:], **PLAIN)
    path.write_bytes(path.read_bytes().replace(b"run_Pos0_1.ome.tif", name.encode().ljust(18)))
    refused(path, "expected files in the same folder", channel=1)


def test_links_among_the_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    files = split_recording(tmp_path / "in")
    files[1].rename(tmp_path / "elsewhere.tif")
    files[1].symlink_to(tmp_path / "elsewhere.tif")
    refused(files[0], "belongs to this recording", channel=1)


def test_a_renamed_file_is_known_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, TWO[:, 0], **PLAIN, metadata={"axes": "TYX"})
    data = '<TiffData IFD="0" PlaneCount="5"><UUID FileName="before.ome.tif">urn:uuid:1</UUID></TiffData>'
    pixels = 'DimensionOrder="XYCZT" Type="uint16" SizeX="7" SizeY="6" SizeZ="1" SizeC="1" SizeT="5"'
    xml = ome(f'<Image ID="Image:0"><Pixels ID="Pixels:0" {pixels}>{data}</Pixels></Image>', "urn:uuid:1")
    tifffile.imwrite(path, TWO[:, 0], **PLAIN, metadata=None, description=xml.encode())
    np.testing.assert_array_equal(read(path), TWO[:, 0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (('SizeT="5"', 'SizeT="9999999999"'), "promise"),
        (('SizeT="5"', 'SizeT="0"'), "promise"),
        (('FirstT="4"', 'FirstT="7"'), "cannot have"),
        (('FirstT="4"', 'FirstT="3"'), "there twice"),
        (('FirstT="2"', 'FirstT="3"'), "there twice"),
        (('IFD="1"', 'IFD="-1"'), "cannot have"),
        (("XYCZT", "XYCZZ"), "damaged"),
        (("</OME>", "</EMO>"), "cannot be read"),
    ],
)
def test_descriptions_that_lie(tmp_path: Path, changed: tuple[str, str], words: str) -> None:
    for path in split_recording(tmp_path):
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            tag = tiff.pages.first.tags["ImageDescription"]
            tag.overwrite(tag.value.replace(*changed))
    refused(tmp_path / "run_Pos0.ome.tif", words, channel=1)


def test_planes_never_recorded_end_a_stack(tmp_path: Path) -> None:
    """As where a recording was stopped: the last images that are promised are not there."""
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, TWO[:, 0], **PLAIN, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags["ImageDescription"]
        tag.overwrite(tag.value.replace('SizeT="5"', 'SizeT="50"').replace('PlaneCount="5"', 'PlaneCount="50"'))
    np.testing.assert_array_equal(read(path), TWO[:, 0])


def test_micro_managers_index_says_which_plane_a_page_is(tmp_path: Path) -> None:
    path = tmp_path / "run_MMStack.tif"
    table = [(0, 0, 3, 0), (1, 0, 3, 0), (1, 0, 0, 0), (0, 0, 0, 0)]
    content = b"II*\0" + struct.pack("<III", 0, 54773648, 40) + bytes(24)
    content += (
        struct.pack("<II", 3453623, 4) + np.array([(*row, 100 + n) for n, row in enumerate(table)], "<u4").tobytes()
    )
    path.write_bytes(content)
    planes = micro_manager.planes_of(path, lambda name: np.arange(4))
    assert planes is not None
    assert [tuple(row) for row in planes.coordinates] == table
    second = tmp_path / "run_MMStack_1.tif"
    second.write_bytes(content)
    planes = micro_manager.planes_of(path, lambda name: np.arange(4) + 4 * bool(name))
    assert planes is not None
    assert planes.stored.tolist() == list(range(8))
    with pytest.raises(InputError, match=r"give its first file, run_MMStack\.tif"):
        micro_manager.planes_of(second, lambda name: np.arange(4))
    path.write_bytes(content[:8] + struct.pack("<I", 483729) + content[12:])
    with pytest.raises(InputError, match="NDTiff"):
        micro_manager.planes_of(path, lambda name: np.arange(4))


def test_an_imagej_stack_of_one_page(tmp_path: Path) -> None:
    """ImageJ writes one page for all images of a large stack, which follow its pixels."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TWO[:, 0], imagej=True, metadata={"axes": "ZYX"}, truncate=True)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    np.testing.assert_array_equal(read(path), TWO[:, 0])
    tifffile.imwrite(path, TWO, imagej=True, metadata={"axes": "TCYX"}, truncate=True)
    np.testing.assert_array_equal(read(path, channel=2), TWO[:, 1])


def test_options_that_a_file_has_no_use_for(tmp_path: Path, save: Any) -> None:
    assert refused(save("a.npy", TWO[:, 0]), "have no channels; choose none", channel=1) == "channel"
    path = save("a.tif", TWO[:, 0])
    np.testing.assert_array_equal(read(path, channel=1, position=1, slice=1), TWO[:, 0])
    assert refused(path, "no position 2; choose 1", position=2) == "position"


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"X": 0.16, "Y": 0.16}, 1.6e-7),
        ({"X": 160.0, "Y": 160.0, "XUnit": "nm", "YUnit": "nm"}, 1.6e-7),
        ({"X": 0.16, "Y": 0.32}, None),  # no squares
        ({"X": 0.25, "Y": 0.25, "XUnit": "pixel", "YUnit": "pixel"}, None),
        ({"X": 0.16}, None),
        ({}, None),
    ],
)
def test_the_size_of_a_pixel_is_noted_where_ome_says_it(
    tmp_path: Path, said: dict[str, Any], size: float | None
) -> None:
    metadata = {"axes": "TYX"} | {f"PhysicalSize{name}": value for name, value in said.items()}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 8, 8), np.uint8), photometric="minisblack", metadata=metadata)
    with open_capture(tmp_path / "a.ome.tif") as capture:
        assert capture.notes.get("pixel_size") == (None if size is None else pytest.approx(size))

"""Text fields of the SPAD512's PNG images: how they were taken is read, and never assumed in spite of them."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import png

from hardware.captures.capture import open_capture
from hardware.parsing.png_texts import text_of
from noise_model.errors import InputError

TEXTS = {"System": "SPAD512S", "Mode": "Intensity 8 bit", "Integration time": "50 ms", "Software version": "1.42"}


def save(path: Path, levels: Any, texts: dict[str, str], kind: bytes = b"tEXt") -> Path:
    rows, columns = levels.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), levels.astype(np.uint8)], axis=1).tobytes()
    between = b"\0" if kind == b"tEXt" else b"\0\0\0\0\0"
    chunks = [(kind, key.encode("latin-1") + between + text.encode("utf-8")) for key, text in texts.items()]
    path.write_bytes(png(rows, columns, 8, lines, *chunks))
    return path


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt"])
@pytest.mark.parametrize(
    ("mode", "time", "cycles", "total"),
    [
        ("Intensity 8 bit", "50 ms", 255, 0.05),
        ("Gated 8 bit", "50 ms", 255, 0.05),
        ("Intensity 6 bit", "12.5 us", 63, 12.5e-6),
        ("Intensity 1 bit", "400 ns", 1, 4e-7),
        ("Intensity 7 bits", "2 s", 127, 2.0),
    ],
)
def test_frames_and_exposure_are_those_of_the_texts(
    tmp_path: Path, kind: bytes, mode: str, time: str, cycles: int, total: float
) -> None:
    texts = TEXTS | {"Mode": mode, "Integration time": time, "Serial number": "S7"}
    path = save(tmp_path / "a.png", np.eye(8), texts, kind)
    with open_capture(path) as capture:
        assert (capture.settings.counter_bits, capture.settings.cycles) == (1, cycles)
        assert capture.settings.count_time == pytest.approx(total / cycles, rel=1e-12)
        assert capture.settings.saturation_value == cycles
        assert capture.assumed == ()
        assert (capture.notes["description"], capture.notes["serial_number"]) == ("SPAD512S", "S7")
        assert ("whole exposure" in " ".join(capture.assumptions)) == mode.startswith("Gated")


def test_options_may_not_contradict_the_texts(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.eye(8), TEXTS)
    with pytest.raises(InputError, match="the file says cycles = 255, not 256"):
        open_capture(path, cycles=256)
    with open_capture(path, cycles=255) as capture:
        assert capture.settings.cycles == 255


def test_texts_of_other_programs_and_odd_ones_tell_nothing(tmp_path: Path) -> None:
    for texts in ({}, TEXTS | {"System": "GIMP"}, TEXTS | {"Mode": "Intensity"}):
        with open_capture(save(tmp_path / "a.png", np.eye(8), texts)) as capture:
            assert "count_time" in capture.assumed
            assert "cycles" in capture.assumed
    for time in ("", "50", "fifty ms", "0 ms", "-50 ms"):
        with open_capture(save(tmp_path / "a.png", np.eye(8), TEXTS | {"Integration time": time})) as capture:
            assert capture.assumed == ("count_time",)
    with pytest.raises(InputError, match="count_time is inf"):
        open_capture(save(tmp_path / "a.png", np.eye(8), TEXTS | {"Integration time": "5e400 ms"}))
    with pytest.raises(InputError, match="99 bits"):
        open_capture(save(tmp_path / "a.png", np.eye(8), TEXTS | {"Mode": "Intensity 99 bit"}))


def test_images_of_a_stack_are_taken_alike(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", np.eye(8), TEXTS | {"Frame": str(number)})
    with open_capture(tmp_path) as capture:
        assert np.concatenate(list(capture.blocks())).shape == (3, 8, 8)
    save(tmp_path / "2.png", np.eye(8), TEXTS | {"Integration time": "10 ms"})
    with pytest.raises(InputError, match=r"2.png: not taken as the first .*10 ms"):
        open_capture(tmp_path).read(2, 3)


def test_compressed_and_giant_texts_are_left_alone() -> None:
    assert text_of(b"iTXt", b"Mode\0\1\0\0\0" + zlib.compress(b"Intensity 8 bit")) is None
    assert text_of(b"tEXt", b"Mode\0" + bytes(1 << 20)) is None
    assert text_of(b"tIME", b"Mode\0x") is None


def test_a_real_recording(shared: Path) -> None:
    with open_capture(shared / "data/real/spad512s_gated") as capture:
        assert capture.shape == (16, 512, 512)
        assert (capture.settings.counter_bits, capture.settings.cycles, capture.assumed) == (1, 255, ())
        assert capture.settings.count_time == pytest.approx(1.96e-4, rel=1e-3)
        assert "67 positions of a gate" in " ".join(capture.assumptions)
        assert capture.notes["start_time"] == "2024-01-24T15:59:25"

"""Words from files and names: none of them moves a cursor, begins mathematics in a plot, or ends a command."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from command import Said
from hypothesis import given
from hypothesis import strategies as st

from hardware.hdf5.nexus_tree import DETECTOR
from noise_model.errors import InputError, out_of_memory
from noise_model.forward_model import ForwardModel
from noise_model.plain_text import printable
from noise_model.sensor import Exposure, Sensor
from spadsr.cli.console import plain_errors, say, table
from spadsr.pictures.plots import plot, png
from spadsr.pictures.sheets import sheet
from spadsr.restoration.restorer import usable_device

Record = Callable[..., Path]

#: Clears the screen, sets the title of the window, rings, returns the carriage, turns text around; a byte of a name.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e\u2066\udcff"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert printable(HOSTILE) == r"\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e\u2066\xff"
    assert printable("a\nb\tc") == r"a\nb\tc"
    for words in ("5 us · naïve — 光子 \N{RIGHTWARDS ARROW}", "[red]a[/red] :smile: \\"):
        assert printable(words) == words


@given(st.text(st.characters()))
def test_any_text_is_printable(text: str) -> None:
    shown = printable(text)
    assert not OBEYED.search(shown)
    assert "\n" not in shown
    assert printable(shown) == shown
    shown.encode()


def test_words_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup of the library that draws tables, no smileys, no line breaks but those between lines."""
    say("a:smile:[red]b[/]\nc", "second")
    table("[/] of", ["[bold]"], [[HOSTILE + "[/]"]])
    said = capsys.readouterr().out
    assert said.startswith("a:smile:[red]b[/]\\nc\nsecond\n[/] of\n")
    assert "[bold]" in said
    assert not OBEYED.search(said)


def test_metadata_is_shown_escaped(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    path = recorded(2, 4, 4)
    with h5py.File(path, "r+") as file:
        file["/entry/notes"].attrs["laser" + HOSTILE[:-1]] = HOSTILE[:-1]
        file[f"{DETECTOR}/count_time"].attrs["units"] = HOSTILE[:-1]
    refusal = spadsr("infer", path, "--weights", small_weights).err
    assert refusal.startswith("error: ")
    assert refusal.count("\n") == 1
    with h5py.File(path, "r+") as file:
        file[f"{DETECTOR}/count_time"].attrs["units"] = "s"
    shown = spadsr("info", path)
    assert shown.code == 0
    assert r"\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e" in shown.out
    assert not OBEYED.search(refusal + shown.out + shown.err)


def test_logs_of_libraries_are_notes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with plain_errors():
        logging.getLogger("library").warning("odd page %s", HOSTILE.encode("utf-8", "ignore").decode())
    assert capsys.readouterr().err.startswith(r"note: library: odd page \x1b[2J")


@pytest.mark.parametrize(
    "name", ["a $ 1$2 \\$ {x} $\\frac$ %", "$\\mathdefault{", "n\udcff\x07"], ids=["formula", "word", "no text"]
)
def test_a_sheet_of_a_capture_of_any_name(name: str) -> None:
    model = ForwardModel(Sensor.load("spc3").uniform((8, 8)), Exposure(1e-5, 64))
    rate, file = np.linspace(1, 1e5, 256, dtype=np.float32).reshape(16, 16), BytesIO()
    sheet(file, rate, rate, model, counts=np.ones((8, 8), np.uint16), name=name, notes={"command": name})
    assert file.getvalue().startswith(b"\x89PNG")


def test_dollars_in_the_name_of_a_capture(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    path = recorded(2, 8, 8, name="cost$2^3$_{a$.h5")
    assert spadsr("infer", path, "--weights", small_weights).code == 0


def test_names_in_a_legend_are_no_mathematics_but_powers_of_ten_are() -> None:
    figure, axes = plot()
    axes.semilogx([1, 1e5], [1, 2], label="$2^{$3$$")
    legend = axes.legend()
    assert png(figure).startswith(b"\x89PNG")
    assert legend.get_texts()[0].get_text() == "$2^{$3$$"
    assert all(label.get_parse_math() for label in axes.get_xticklabels())
    assert "mathdefault" in axes.get_xticklabels()[0].get_text()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_no_memory_is_one_line(capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    assert out_of_memory(error)
    with pytest.raises(SystemExit) as end, plain_errors():
        raise error
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: out of memory; use a smaller scale or close other programs\n"
    assert not out_of_memory(RuntimeError("shapes differ"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("meta", "there is none here"),
        ("cuda:77", "there is none here"),
        ("mps", "there is none here"),
        ("toaster\x1b", "no such device"),
        ("cpu:1", "there is none here"),
        ("", "no such device"),
        ("xla", "there is none here"),
    ],
)
def test_devices_that_are_not_there(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        usable_device(name)
    assert len(str(refusal.value)) < 120
    assert usable_device("cpu").type == "cpu"


_NOWHERE = """
import errno
from numba.core import caching
def refused(self): raise OSError(errno.EROFS, "Read-only file system")
caching._CacheLocator.ensure_cache_path = refused
import torch
from noise_model import Exposure, ForwardModel, Sensor
model = ForwardModel(Sensor.load("spc3").uniform((4, 4)), Exposure(1e-5, 4))
print(int(model.sample(torch.full((4, 4), 1e9), torch.Generator().manual_seed(0)).min()))
"""


def test_counts_are_drawn_where_no_cache_can_be_kept() -> None:
    """Of the code that numba compiles: in a container or a shared installation, without a home."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", _NOWHERE], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 0

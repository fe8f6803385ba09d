"""The command line: what a user does wrong is one line and exit code 2, with nothing left behind."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tifffile
import typer
import yaml
from command import Said
from safetensors.numpy import save_file

from hardware.hdf5.nexus_tree import DETECTOR
from spadsr.cli.app import app
from spadsr.cli.console import progress
from spadsr.restoration.result_file import read_result

DATA = f"{DETECTOR}/data"
Record = Callable[..., Path]


def outside(*command: object, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **how)


def refused(said: Said | subprocess.CompletedProcess[str], words: str) -> None:
    code, out, err = (
        (said.code, said.out, said.err) if isinstance(said, Said) else (said.returncode, said.stdout, said.stderr)
    )
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def commands() -> list[list[str]]:
    """Every command and group of commands, as a user types it."""
    found: list[list[str]] = [[]]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [[name], *([name, inner] for inner in getattr(command, "commands", {}))]
    return found


def test_the_commands_are_there() -> None:
    assert {"infer", "demo", "simulate", "train", "evaluate", "info", "bench"} <= {c[0] for c in commands() if c}


def test_help_lists_the_commands_in_the_order_of_their_use(spadsr: Callable[..., Said]) -> None:
    """By subject; a second name of a command is not a second line."""
    words = "infer merge demo info convert cameras acquire live emulate calibrate simulate train evaluate"
    listed = re.findall(r"^│ ([a-z]+) ", spadsr("--help").out, re.MULTILINE)
    assert listed == f"{words} experiment export bench".split()
    first, second = (spadsr(name, "--help").out.partition("Restore recordings")[2] for name in ("infer", "restore"))
    assert first == second != ""


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help(spadsr: Callable[..., Said], command: list[str]) -> None:
    said = spadsr(*command, "--help")
    assert said.code == 0
    assert "Usage: spadsr" in said.out
    assert said.err == ""


def test_help_imports_nothing_slow() -> None:
    slow = {"torch", "numpy", "h5py", "matplotlib", "skimage", "scipy", "cv2"}
    code = f"import spadsr.cli.app, sys; print(sorted({slow} & set(sys.modules)))"
    assert outside(sys.executable, "-c", code).stdout == "[]\n"


def test_restoring_loads_nothing_that_it_can_do_without(tmp_path: Path, small_weights: Path) -> None:
    """Starting takes most of the time of a small job: no needless library, and no thread that waits awake."""
    np.save(tmp_path / "a.npy", np.ones((8, 8), np.uint8))
    arguments = ["infer", str(tmp_path / "a.npy"), "--weights", str(small_weights), "--bits", "1", "--cycles", "4"]
    spared = {"scipy", "numba", "onnx", "sympy", "skimage", "torch._dynamo", "torch._inductor", "torch.onnx"}
    code = f"""
import atexit, os, sys
waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
atexit.register(lambda: print(sorted({spared} & set(sys.modules)), *(os.environ[name] for name in waiting)))
sys.argv = ["spadsr", *{arguments}]
from spadsr.cli import main
main()
"""
    assert outside(sys.executable, "-c", code).stdout.splitlines()[-1] == "[] passive 10000"
    assert (tmp_path / "a.sr.png").exists()


def test_the_module_and_the_script_are_the_command() -> None:
    script = Path(sys.executable).with_name("spadsr")
    by_module = outside(sys.executable, "-m", "spadsr", "--help")
    by_script = outside(script, "--help")
    assert by_module.returncode == by_script.returncode == 0
    assert "infer" in by_module.stdout
    assert "infer" in by_script.stdout


def test_an_error_in_a_process_of_its_own(tmp_path: Path) -> None:
    refused(outside(sys.executable, "-m", "spadsr", "info", tmp_path / "none.h5"), "no such file")


def test_a_broken_pipe_is_no_error_message(recorded: Record) -> None:
    command = f"'{sys.executable}' -m spadsr info '{recorded(3, 4, 4)}' | head -0"
    assert outside("bash", "-c", command).stderr == ""


def test_info(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    said = spadsr("info", recorded(3, 4, 5))
    assert (said.code, said.err) == (0, "")
    assert "3 images of 4 x 5" in said.out
    assert "parameters" in spadsr("info", small_weights).out


def test_infer(spadsr: Callable[..., Said], recorded: Record, small_weights: Path, tmp_path: Path) -> None:
    path = recorded(6, 5, 7)
    said = spadsr("infer", path, "-o", tmp_path / "new", "--scale", 2, "--sum", 4, "--weights", small_weights)
    assert said.code == 0, said.err
    first, second = said.out.splitlines()
    assert first.startswith(f"{tmp_path / 'new' / 'capture.sr.h5'}  1 image, x2, chi-squared per pixel ")
    assert second == str(tmp_path / "new" / "capture.sr.png")
    left_out, untold, contradicted = said.err.splitlines()
    assert left_out == "note: capture.h5: 2 of 6 images fill no group of 4 scene images and are left out"
    assert "the weights do not say what they were trained for" in untold
    assert "the answer contradicts the counts" in contradicted  # that of a random network
    with read_result(tmp_path / "new" / "capture.sr.h5") as result:
        assert result.shape == (1, 10, 14)
        assert (
            result.provenance.command
            == f"spadsr infer {path} -o {tmp_path / 'new'} --scale 2 --sum 4 --weights {small_weights}"
        )


def test_infer_averages_orientations(
    spadsr: Callable[..., Said], recorded: Record, small_weights: Path, tmp_path: Path
) -> None:
    path = recorded(1, 8, 8)
    assert spadsr("infer", path, "--weights", small_weights, "--orientations", 8).code == 0
    with read_result(path.with_name("capture.sr.h5")) as result:
        assert result.provenance.config["orientations"] == 8
    refused(spadsr("infer", path, "--weights", small_weights, "--orientations", 9), "expected 1 to 8")


def test_several_captures_share_a_note(spadsr: Callable[..., Said], small_weights: Path, tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.ones((2, 4, 4), np.uint8))
    said = spadsr("infer", tmp_path / "a.npy", tmp_path / "b.npy", "--weights", small_weights)
    assert said.code == 0
    assert len(said.out.splitlines()) == 4
    assert "note: 2 captures: binary array assumed (--bits)\n" in said.err
    assert re.search(
        r"^assumed +binary array assumed \(--bits\)$", spadsr("info", tmp_path / "a.npy").out, re.MULTILINE
    )
    warned = spadsr("convert", tmp_path / "a.npy", tmp_path / "c.npy").err
    assert "note: binary array assumed (--bits)\n" in warned
    assert "rates scale with its inverse (--count-time)\n" in warned
    assert {path.name for path in tmp_path.glob("*.sr.h5")} == {"a.sr.h5", "b.sr.h5"}


def test_a_batch_goes_on_after_a_bad_file(spadsr: Callable[..., Said], small_weights: Path, tmp_path: Path) -> None:
    """The rest is restored; all notes are printed, and what failed is named at the end."""
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.ones((2, 4, 4), np.uint8))
    truncated_npy = (tmp_path / "b.npy").read_bytes()[:-5]
    (tmp_path / "b.npy").write_bytes(truncated_npy)
    said = spadsr("infer", *(tmp_path / f"{name}.npy" for name in "abc"), "--weights", small_weights)
    assert said.code == 2
    assert {path.name for path in tmp_path.glob("*.sr.h5")} == {"a.sr.h5", "c.sr.h5"}
    first, *notes, last = said.err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'b.npy'}: truncated")
    assert "note: 2 captures: binary array assumed (--bits)" in notes
    assert last == f"error: 1 of 3 captures could not be restored: {tmp_path / 'b.npy'}"


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ome.tif", "a.mp4", "a.hdf5"])
def test_outputs_by_the_ending_of_their_name(
    spadsr: Callable[..., Said], recorded: Record, small_weights: Path, tmp_path: Path, name: str
) -> None:
    """Case by case a file of that kind, not a folder; a result can be converted to each of them later."""
    path = recorded(3, 8, 8)
    said = spadsr("infer", path, "-o", tmp_path / "out" / name, "--weights", small_weights, "--scale", 2)
    assert said.code == 0, said.err
    assert said.out.startswith(f"{tmp_path / 'out' / name}  ")
    assert (tmp_path / "out" / name).is_file()
    spadsr("infer", path, "--weights", small_weights, "--scale", 2, "--float32")  # as other files hold them
    assert spadsr("convert", tmp_path / "capture.sr.h5", tmp_path / name).code == 0
    one, other = tmp_path / name, tmp_path / "out" / name
    if name.endswith(".tif"):
        np.testing.assert_array_equal(tifffile.imread(one), tifffile.imread(other))
    if name.endswith(".png"):
        np.testing.assert_array_equal(cv2.imread(str(one)), cv2.imread(str(other)))
    refused(spadsr("infer", path, "-o", tmp_path / "a.jpg", "--weights", small_weights), "expected a name ending in")


def test_results_convert_to_a_picture_of_every_image(
    spadsr: Callable[..., Said], recorded: Record, small_weights: Path, tmp_path: Path
) -> None:
    spadsr("infer", recorded(3, 8, 8), "--weights", small_weights, "--scale", 2)
    assert spadsr("convert", tmp_path / "capture.sr.h5", tmp_path / "a.png", "--each", "--first", 1).code == 0
    assert sorted(path.name for path in tmp_path.glob("a*")) == ["a-0.png", "a-1.png"]
    refused(spadsr("convert", tmp_path / "capture.sr.h5", tmp_path / "a.tif", "--roi", "0:2,0:2"), "a result")
    refused(spadsr("convert", tmp_path / "capture.h5", tmp_path / "a.npy", "--each"), "restore it (--each)")
    refused(spadsr("convert", tmp_path / "capture.sr.h5", tmp_path / "a.npy"), "expected a name ending in .h5")


def test_parts_of_recordings(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    path = recorded(6, 8, 9)
    part = ["--first", 1, "--last", 4, "--roi", "2:6,:5"]
    assert "4 images of 4 x 5" in spadsr("info", path, *part).out
    assert spadsr("infer", path, *part, "--sum", 2, "--scale", 2, "--weights", small_weights).code == 0
    with read_result(path.with_name("capture.sr.h5")) as result:
        assert result.shape == (2, 8, 10)
    assert spadsr("convert", path, path.with_name("b.npy"), *part).code == 0
    with h5py.File(path) as file:
        np.testing.assert_array_equal(np.load(path.with_name("b.npy")), file[DATA][1:5, 2:6, :5])
    refused(spadsr("info", path, "--roi", "2:6"), "--roi 2:6: expected ROWS,COLUMNS")
    refused(spadsr("info", path, "--last", 6), "images 0 to 6 of 0 to 5")


def test_json_on_the_screen_and_in_a_file(spadsr: Callable[..., Said], recorded: Record, tmp_path: Path) -> None:
    said = spadsr("info", recorded(3, 4, 5), "--json", "-")
    found = json.loads(said.out)
    assert found["rows"]["images"] == [3, 4, 5]
    assert found["rows"]["exposure"] == {"count_time": 10.4e-6, "cycles": 16}
    assert "spadsr" in found["versions"]
    assert "3 images of 4 x 5" in spadsr("info", tmp_path / "capture.h5", "--json", tmp_path / "a.json").out
    assert json.loads((tmp_path / "a.json").read_text()) == found
    assert "3 images" in spadsr("info", tmp_path / "capture.h5").out  # the next command is not silent


def test_quiet_commands_print_errors_alone(spadsr: Callable[..., Said], small_weights: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 4, 4), np.uint8))
    said = spadsr("infer", tmp_path / "a.npy", "--weights", small_weights, "--quiet")
    assert said == Said(0, "", "")
    refused(spadsr("infer", tmp_path / "b.npy", "-q"), "no such file")
    said = spadsr("acquire", "--camera", "simulated:spc3", "--frames", 3, "-o", tmp_path / "c.h5", "--quiet")
    assert said == Said(0, "", "")


def test_shells_complete_commands() -> None:
    environment = os.environ | {"_SPADSR_COMPLETE": "complete_bash", "COMP_WORDS": "spadsr inf", "COMP_CWORD": "1"}
    assert outside(sys.executable, "-m", "spadsr", env=environment).stdout.split() == ["infer", "info"]


@pytest.mark.parametrize(("command", "option"), [(["evaluate"], "methods"), (["bench", "quality"], "baselines")])
def test_defaults_need_no_extra(command: list[str], option: str) -> None:
    """What is measured without being asked for runs on the plain install."""
    found: Any = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]
    [default] = [each.default for each in found.params if each.name == option]
    assert set(default.split(",")) <= {"bicubic", "nlm", "tv", "spadsr"}


def test_long_work_is_announced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, from what was done since the first report, and not before something was; short work never."""
    clock = iter([0.0, 0.0, 1.0, 3.0, 4.0, 5.0, 0.0, 0.0, 4.0])
    monkeypatch.setattr("spadsr.cli.console.monotonic", lambda: next(clock))
    with progress("work") as report:
        for done in (100, 100, 100, 104, 105):
            report(done, 4000)
    assert capsys.readouterr().err == "work: 104 of 4,000 done, about 65 min to go\n"
    with progress("work") as report:
        for done in (0, 4):
            report(done, 20)
    assert capsys.readouterr().err == ""


def test_work_that_is_shorter_than_was_said_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of many pieces takes as long as its code takes to be compiled."""
    clock = iter([0.0, 0.0, 50.0, 51.0, 75.0, 100.0, 125.0])
    monkeypatch.setattr("spadsr.cli.console.monotonic", lambda: next(clock))
    with progress("work") as report:
        for done in (0, 1, 2, 25, 50, 75):
            report(done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "work: 1 of 1,000 done, about 13 h 52 min to go",
        "work: 25 of 1,000 done, about 49 min to go",
    ]


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def counts(values: Any) -> Callable[[Path], None]:
    """Replaces the counts of a capture; without values, removes them."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[DATA]
            if values is not None:
                file[DATA] = values

    return change


BAD_CAPTURES: list[Any] = [
    (missing, "no such file"),
    (empty, "empty"),
    (truncated, "damaged"),
    (directory, "a directory"),
    (counts(None), "without counts"),
    (counts(np.full((3, 4, 4), 0.5)), "holds 0.5, which is not whole; expected counts"),
    (counts(np.full((3, 4, 4), np.nan)), "all pixels are NaN; expected counts"),
    (counts(np.full((3, 4, 4), -1)), "expected counts of 0 and more"),
    (counts(np.full((3, 4, 4), 17, np.uint8)), "above the largest possible, 16"),
    (counts(np.zeros(4, np.uint8)), "expected (images, rows, columns)"),
    (counts(np.zeros((1, 2, 3, 4), np.uint8)), "images of 4 channels; choose 1 or 2 or 3 or 4"),
    (counts(np.zeros((0, 4, 4), np.uint8)), "0 images"),
]


@pytest.mark.parametrize(("damage", "words"), BAD_CAPTURES)
def test_bad_captures(
    spadsr: Callable[..., Said], recorded: Record, small_weights: Path, damage: Callable[[Path], None], words: str
) -> None:
    path = recorded(3, 4, 4)
    damage(path)
    before = files(path.parent)
    refused(spadsr("infer", path, "--weights", small_weights), words)
    assert files(path.parent) == before
    refused(spadsr("info", path), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scale", "3"], "scale 3: not available; choose one of 1, 2, 4, 8, 16"),
        (["--sum", "0"], "1 or more images per sum (--sum)"),
        (["--sum", "4"], "no group of 4 scene images among 3"),
        (["--sensor", "spc4"], "give a sensor YAML or a shipped one (spad512, spc3)"),
        (["--sensor", "spc3"], "a counting array, but capture.h5 was taken by a binary one"),
        (["--device", "cuda:77"], "choose cpu"),
        (["--device", "toaster"], "choose cpu"),
        (["--cycles", "17"], "the file says cycles = 16"),
        (["--count-time", "nan"], "count_time"),
        (["--count-time", "-1"], "count_time"),
        (["--count-time", "1e-320"], "count_time is 1e-320; expected 1e-12 to 1e+06 s"),
        (["--dead-time", "1e-300"], "dead_time is 1e-300; expected 0, or 1e-12 to 1e+06 s"),
        (["--cycles", "9" * 25], "expected 1 to 4294967295"),
        (["--scale", "9" * 25], "not available; choose one of 1, 2, 4, 8, 16"),
        (["--sum", "9" * 25], "sums of 9999999999999999999999999"),
        (["--device", "meta"], "choose cpu"),
        (["--device", "mps"], "choose cpu"),
        (["--weights", "none.safetensors"], "no such file"),
    ],
)
def test_bad_options(
    spadsr: Callable[..., Said], recorded: Record, small_weights: Path, options: list[str], words: str
) -> None:
    path = recorded(3, 4, 4)
    before = files(path.parent)
    refused(spadsr("infer", path, "--weights", small_weights, *options), words)
    assert files(path.parent) == before


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_number_has_a_stated_range(command: list[str]) -> None:
    """By the range of its type, which the help shows, or in words."""
    found = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
    for option in found.params:
        kind: Any = option.type_descriptor
        if kind.annotation in (int, float):
            bounded = None not in (kind.parameter_info.min, kind.parameter_info.max)
            assert bounded or re.search(r"\b\d", option.help or ""), option.name  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "--bits", "8", "--dead-time", "nan"], "dead_time is nan"),
        (["export", "--bits", "9" * 25], "counter_bits is 9999999999999999999999999; expected 1 to 16"),
        (["evaluate", "pictures", "--flux", "nan"], "nan: expected numbers from 0 to 1000000"),
        (["evaluate", "pictures", "--bits", "99"], "--bits 99: expected 0 to 16"),
        (["evaluate", "pictures", "--frames", "1e400"], "expected numbers"),
        (["info", "a" * 5000], "File name too long"),
        (["simulate", "--sensor", "a" * 5000], "File name too long"),
    ],
)
def test_extreme_options(spadsr: Callable[..., Said], arguments: list[str], words: str) -> None:
    refused(spadsr(*arguments), words)


@pytest.mark.parametrize("option", ["--rate", "--calibration"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e300"])
def test_an_emulator_of_no_numbers(spadsr: Callable[..., Said], option: str, value: str) -> None:
    said = spadsr("emulate", "spad512", f"{option}={value}")
    assert said.code == 2
    assert "Usage: spadsr" in said.err


def test_weights_that_are_none(spadsr: Callable[..., Said], recorded: Record, tmp_path: Path) -> None:
    path = recorded(3, 4, 4)
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    refused(spadsr("infer", path, "--weights", tmp_path / "other.safetensors"), "not of spadsr weights")
    refused(spadsr("infer", path, "--weights", path), "not a safetensors file")


@pytest.mark.parametrize("place", ["capture.h5/below", "capture.h5/below/a.h5", "/proc/none", "/proc/none/a.h5"])
def test_outputs_that_cannot_be_written(
    spadsr: Callable[..., Said], recorded: Record, small_weights: Path, place: str
) -> None:
    """Tests may run as root, whom no permission stops."""
    path = recorded(3, 4, 4)
    before = files(path.parent)
    refused(spadsr("infer", path, "-o", path.parent / place, "--weights", small_weights), "cannot be written")
    assert files(path.parent) == before


def test_an_output_that_is_another_file(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    path = recorded(3, 4, 4)
    note = path.with_name("notes.txt")
    note.write_text("mine")
    refused(
        spadsr("infer", path, "-o", note, "--weights", small_weights),
        "not a kind of file that is written; expected a name ending in .h5",
    )
    refused(spadsr("infer", path, "-o", path, "--weights", small_weights), "is the capture itself")
    refused(spadsr("infer", path, path, "--weights", small_weights), "one by one")
    assert note.read_text() == "mine"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a photograph and a corrupt one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(0).integers(0, 256, (90, 80), np.uint8))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, cut off")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The smallest training there is."""
    path = tmp_path / "tiny.yaml"
    small = {"widths": [8, 16], "encoder": [1, 1], "decoder": [1], "attention": 1, "heads": 2, "detail": 4}
    how = {"steps": 2, "batch": 2, "exposures": 1, "native": 16, "interval_batches": 1}
    path.write_text(yaml.safe_dump(how | {"network": small, "scenes": {"drawn": 1, "drawn_size": 256}}))
    return path


def small_simulation(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    how = {"shape": [8, 4], "bit_depths": [1], "white_detections": [0.2], "count_time": 20e-9, "squared_share": 0.5}
    path.write_text(yaml.safe_dump(how))
    return path


def test_train_and_its_corrupt_photograph(
    spadsr: Callable[..., Said], tmp_path: Path, recipe: Path, photos: Path
) -> None:
    folder = tmp_path / "run"
    said = spadsr("train", recipe, f"scenes.photos={photos}", "-o", folder)
    assert said.code == 0, said.err
    assert said.out.splitlines() == [str(folder / "weights.safetensors"), str(folder / "curves.png")]
    assert said.err == f"note: skipped 1 files that are not readable images: {photos / 'broken.png'}\n"
    refused(spadsr("train", recipe, "-o", folder), "holds a run already")
    assert spadsr("train", "--resume", "-o", folder, "steps=3").code == 0
    assert "tiny" not in spadsr("info", folder / "weights.safetensors").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-recipe"], "give a training recipe YAML or a shipped one"),
        (["smoke", "stpes=3"], "stpes=3: not a training recipe: stpes: no such key; did you mean steps?"),
        (["smoke", "steps"], "overrides are written key=value"),
        (["stpes=3"], "stpes=3: not a training recipe: stpes: no such key; did you mean steps?"),
        (["photos"], "photos: no such folder; say with scenes.photos=FOLDER where the photographs are"),
        (["smoke", "scenes.photos="], "scenes.photos=: no value; give one, or null for none"),
        (["smoke", "--device", "toaster"], "choose cpu"),
        (["smoke", "--resume"], "no run to resume"),
        (["smoke", "scenes.photos=nowhere"], "nowhere: no such folder"),
        (["smoke", "simulated=nowhere"], "not the manifest of a simulated set"),
    ],
)
def test_bad_trainings(spadsr: Callable[..., Said], tmp_path: Path, arguments: list[str], words: str) -> None:
    refused(spadsr("train", *arguments, "-o", tmp_path / "run"), words)
    assert files(tmp_path) == {}


def test_a_run_folder_that_cannot_be_written(spadsr: Callable[..., Said], recipe: Path) -> None:
    refused(spadsr("train", recipe, "-o", recipe / "below"), "cannot be written")
    refused(spadsr("train", recipe, "-o", recipe), "cannot be written")


def test_simulate_and_its_corrupt_photograph(spadsr: Callable[..., Said], tmp_path: Path, photos: Path) -> None:
    settled, folder = small_simulation(tmp_path), tmp_path / "set"
    how = ["--scenes", 2, "--images", photos, "--recipe", settled, "--workers", 1, "-o", folder]
    said = spadsr("simulate", *how)
    assert (said.code, said.out) == (0, f"{folder}: 2 scenes\n")
    assert said.err == f"note: skipped 1 files that are not readable images: {photos / 'broken.png'}\n"
    assert "resume it, or choose another folder (--resume, -o)" in spadsr("simulate", *how).err
    assert spadsr("simulate", *how, "--resume").code == 0


@pytest.mark.parametrize("kind", ["missing", "without", "corrupt"])
@pytest.mark.parametrize("command", ["simulate", "train", "evaluate"])
def test_folders_without_photographs(
    spadsr: Callable[..., Said], tmp_path: Path, photos: Path, recipe: Path, command: str, kind: str
) -> None:
    folder, output = tmp_path / kind, tmp_path / "output"
    if kind != "missing":
        folder.mkdir()
    if kind == "corrupt":
        (photos / "broken.png").rename(folder / "broken.png")
    options = {
        "simulate": ["--images", folder, "--recipe", small_simulation(tmp_path)],
        "train": [recipe, f"scenes.photos={folder}"],
        "evaluate": [folder, "--methods", "bicubic"],
    }
    before = files(tmp_path)
    refused(spadsr(command, *options[command], "-o", output), str(folder))
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "none"], "no such simulation recipe file"),
        (["--sensor", "none"], "give a sensor YAML or a shipped one (spad512, spc3)"),
    ],
)
def test_bad_simulations(spadsr: Callable[..., Said], tmp_path: Path, arguments: list[str], words: str) -> None:
    refused(spadsr("simulate", *arguments, "-o", tmp_path / "set"), words)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "arguments", [["infer"], ["infer", "a.h5", "--scale", "big"], ["restore"], ["simulate", "--scenes", "0"]]
)
def test_misspelt_commands_are_explained_without_a_traceback(spadsr: Callable[..., Said], arguments: list[str]) -> None:
    said = spadsr(*arguments)
    assert said.code == 2
    assert "Usage: spadsr" in said.err
    assert "Traceback" not in said.err


def test_a_narrow_terminal_does_not_break_an_error_into_lines(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 40) / "none.h5"
    refused(outside(sys.executable, "-m", "spadsr", "info", path, env=os.environ | {"COLUMNS": "20"}), "no such file")


def test_a_home_after_an_equals_sign_is_the_home(
    spadsr: Callable[..., Said], recorded: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shells write out `-o ~/a.h5` alone; a folder that is called ~ would be made of the other."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    said = spadsr("convert", recorded(2, 8, 8), tmp_path / "a.npy")
    assert said.code == 0
    said = spadsr("info", tmp_path / "a.npy", "--json=~/a.json")
    assert (said.code, (tmp_path / "home" / "a.json").is_file()) == (0, True)

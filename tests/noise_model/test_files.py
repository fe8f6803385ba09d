"""Whole files: what is left of processes that were killed or asked to stop, and renames that replace nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from noise_model import files
from noise_model.errors import InputError
from noise_model.files import free_room, in_bytes, is_running, move_new, partial_file, require_room, whole_file

ROOT = Path(__file__).parents[2]

WRITES = """
import os, sys, time
from pathlib import Path
from noise_model.files import whole_file
from noise_model.interrupts import stop_at_signals
stop_at_signals()
with whole_file(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def writing(path: Path) -> subprocess.Popen[str]:
    """A process that has written half of the file `path`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITES, str(path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_requests_to_stop_leave_nothing(tmp_path: Path, how: str) -> None:
    with writing(tmp_path / "a.h5") as process:
        process.send_signal(getattr(signal, how))
        assert process.wait(30) != 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    (tmp_path / ".mine.h5").write_text("precious")
    with writing(tmp_path / "dead.sr.h5") as dead, writing(tmp_path / "alive.sr.h5") as alive:
        dead.kill()
        dead.wait()
        assert len(list(tmp_path.iterdir())) == 3
        with whole_file(tmp_path / "other.txt") as partial:
            partial.write_text("whole")
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left[0].startswith(".alive.sr.partial-")
        assert left[1:] == [".mine.h5", "other.txt"]
        alive.kill()


def test_processes_of_other_machines_are_not_judged() -> None:
    assert is_running(files.this_process())
    assert is_running("01234567-1")
    machine = files.this_process().partition("-")[0]
    assert not is_running(f"{machine}-{2**22 + 1}")  # more than any system numbers
    assert is_running(f"{machine}-x")


def test_names_as_long_as_can_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 250}.h5"
    with whole_file(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"


@pytest.mark.parametrize("links", [True, False])
def test_a_new_name_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:

        def refused(source: Path, target: Path) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refused)
    source, target = partial_file(tmp_path / "a.h5"), tmp_path / "a.h5"
    source.write_text("new")
    target.write_text("precious")
    with pytest.raises(FileExistsError):
        move_new(source, target)
    assert target.read_text() == "precious"
    target.unlink()
    move_new(source, target)
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_room_is_that_of_the_disk_a_file_will_be_on(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "there.h5"
    free = free_room(path)
    require_room(path, free // 2)
    with pytest.raises(InputError, match=r"there\.h5: needs [\d,.]+ GB, and its disk has [\d,.]+ [kMG]B free"):
        require_room(path, free + 10**9)
    assert list(tmp_path.iterdir()) == []
    sizes = [in_bytes(size) for size in (999, 1000, 2_345_000, 811 * 10**9)]
    assert sizes == ["999 bytes", "1.0 kB", "2.3 MB", "811.0 GB"]

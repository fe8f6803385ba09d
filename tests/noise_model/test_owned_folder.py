"""Folders with one owner: who comes second is told who was first, and death frees them."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from noise_model.errors import InputError
from noise_model.owned_folder import owned

_HOLDS = """
import sys, time
from pathlib import Path
from noise_model.owned_folder import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """A process that holds the folder."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, folder], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_is_first_and_death_frees(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        with (
            pytest.raises(InputError, match=rf"in use by process {process.pid} on \S+ since 20\d\d-\d\d-\d\d") as told,
            owned(folder),
        ):
            pass
        assert told.value.arguments == ("output",)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with owned(folder):
        assert str(os.getpid()) in (folder / ".in-use").read_text()
    assert list(folder.iterdir()) == []


def test_a_folder_that_got_nothing_is_gone_again(tmp_path: Path) -> None:
    with owned(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with owned(tmp_path / "new"):
        (tmp_path / "new" / "a").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_the_same_process_holds_it_once(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(InputError, match="in use by process"), owned(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has locks everywhere")
def test_without_locks_the_name_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with owned(tmp_path):
        assert "has no locks" in caplog.text
        with pytest.raises(InputError, match=r"in use by .*\(or delete .*\.in-use\)"), owned(tmp_path):
            pass
    lock, gone = tmp_path / ".in-use", subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = os.uname().nodename
    lock.write_text(f"process {gone.pid} on {here} since long ago")
    with owned(tmp_path):
        pass
    lock.write_text("process 1 on elsewhere since long ago")
    with pytest.raises(InputError, match="in use by process 1 on elsewhere since long ago"), owned(tmp_path):
        pass


def test_many_at_once_are_one_at_a_time(tmp_path: Path) -> None:
    """Processes that take a folder as soon as it is free never hold it together."""
    code = """
import sys, time
from pathlib import Path
from noise_model.errors import InputError
from noise_model.owned_folder import owned
folder, end = Path(sys.argv[1]), time.monotonic() + 2
while time.monotonic() < end:
    try:
        with owned(folder):
            (folder / "mine").touch(exist_ok=False)
            (folder / "mine").unlink()
    except InputError:
        pass
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    started = [subprocess.Popen([sys.executable, "-c", code, tmp_path], env=environment) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]


def test_what_is_held_is_named(tmp_path: Path) -> None:
    result = tmp_path / "a.sr.h5"
    with owned(tmp_path, "a"), pytest.raises(InputError) as told, owned(tmp_path, "a", result):
        pass
    assert str(told.value).startswith(f"{result}: in use by process")

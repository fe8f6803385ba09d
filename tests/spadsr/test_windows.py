"""Every command where the functions that Windows lacks are taken away, in the processes that it starts as well."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live_view import PATIENCE, Client, live_view, numbered_recording

from hardware.captures.capture import open_capture
from spadsr.live.message import Kind

ROOT = Path(__file__).parents[2]

#: Python runs this file at the start of every process.
TAKEN = """
import os, signal, sys

for name in "nice fork forkpty mkfifo getuid geteuid getgid setsid killpg getpgid pread pwrite".split():
    delattr(os, name)
for name in "SIGHUP SIGALRM SIGUSR1 SIGUSR2 pthread_sigmask pthread_kill alarm setitimer sigwait".split():
    delattr(signal, name)


class Absent:
    def find_spec(name, path=None, target=None):
        if name in {"resource", "pwd", "grp", "termios", "tty", "pty"}:
            frame = sys._getframe(1)
            while frame.f_globals["__name__"].startswith("importlib"):
                frame = frame.f_back
            if frame.f_globals["__name__"].partition(".")[0] in {"spadsr", "simulate", "hardware", "noise_model"}:
                raise ModuleNotFoundError(f"no module {name}, as on Windows", name=name)


sys.meta_path.insert(0, Absent)
"""

#: The event loop and the sockets of Windows.
TAKEN_FROM_SERVERS = """
import asyncio, socket


def no_signals(*ignored):
    raise NotImplementedError


def socketpair(family=socket.AF_INET, type=socket.SOCK_STREAM, proto=0):
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname()), server.accept()[0]


asyncio.SelectorEventLoop.add_signal_handler = no_signals
socket.socketpair = socketpair
del socket.AF_UNIX
"""

RUNS = """
import sys
from pathlib import Path
from spadsr.cli import main

if __name__ == "__main__":
    for line in Path("commands").read_text().splitlines():
        sys.argv = ["spadsr", *line.split()]
        try:
            main()
        except SystemExit as end:
            if end.code not in (None, 0, 3):  # 3: a busy machine loses images
                sys.exit(f"{line}: exit code {end.code}")
"""

COMMANDS = """
acquire --camera simulated -o run.h5 --frames 500 --frame-time 1e-3 --infer --sum 64 --weights tiny
info run.h5
acquire --camera replay:run.h5,speed=inf -o again.h5 --compression gzip
convert run.h5 run.npy
convert run.h5 copy.h5
infer frames.npy --weights tiny --count-time 1e-5 --cycles 16 --bits 1 -o out
simulate -o set --scenes 26 --workers 2
"""


def test_nothing_that_windows_lacks_is_needed(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "sitecustomize.py").write_text(TAKEN)
    (tmp_path / "runs.py").write_text(RUNS)
    (tmp_path / "commands").write_text(COMMANDS.strip())
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).integers(0, 17, (2, 16, 16), dtype=np.uint8))
    paths = os.pathsep.join([str(tmp_path / "taken"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "runs.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    made = ["run.h5", "run.live.png", "again.h5", "run.npy", "copy.h5", "out/frames.sr.h5", "set/shard-00001.h5"]
    assert all((tmp_path / name).is_file() for name in made), done.stdout + done.stderr


def test_the_live_view_needs_nothing_that_windows_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "sitecustomize.py").write_text(TAKEN + TAKEN_FROM_SERVERS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "taken"), str(ROOT)]))
    recording = numbered_recording(tmp_path / "numbered.h5")
    with live_view(tmp_path, f"replay:{recording},loop=1", "--weights", "tiny") as running, Client(running) as client:
        client.image(Kind.RESTORED)
        client.order("record", name="mine")
        client.wait("written", lambda state, page: state["recording"] and state["recording"]["images"] > 0)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0
    with open_capture(tmp_path / "mine.h5") as capture:
        assert capture.shape[0] > 0

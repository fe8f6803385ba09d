"""`spadsr emulate spad512`: a user's way to a camera without one."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from hardware.camera import CameraError
from hardware.cameras.registry import open_camera
from hardware.settings import Settings
from spadsr.cli.cameras import emulate_spad512


def test_the_camera_it_names_hands_over_images_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "spadsr", "emulate", "spad512", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("serving ").strip()
        with open_camera(f"{address},frames=2") as camera:
            camera.configure(Settings(10e-6))
            counts = next(iter(camera.blocks())).counts
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert counts.shape == (2, 512, 512)
    assert 0 < counts.mean() < 0.5


def test_connections_that_run_out_are_no_traceback() -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24)); from spadsr.cli import main; main()"
    command = [sys.executable, "-c", few, "emulate", "spad512", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host, port = process.stdout.readline().strip().removeprefix("serving spad512:").split(",port=")
        flood: list[socket.socket] = []
        with suppress(TimeoutError):
            while len(flood) < 40:
                flood.append(socket.create_connection((host, int(port)), timeout=2))
        assert process.stderr is not None
        assert "Too many open files" in process.stderr.readline()
        for each in flood:
            each.close()
        with socket.create_connection((host, int(port)), timeout=60) as client:
            assert client.recv(7) == b"SPAD512"
        process.terminate()
        assert process.wait(30) == 143
        assert process.stderr.read() == "stopped; files already finished are whole\n"


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CameraError, match=f"port {port}: .*choose another") as refused:
            emulate_spad512(port=port, rate=1.0, calibration=0.0, seed=0)
    assert refused.value.arguments == ("port",)

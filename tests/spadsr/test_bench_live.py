"""`spadsr bench live`, with a program in place of the browser that acknowledges every image after 5 ms."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Said

from noise_model.errors import InputError
from spadsr.bench.live_speed import bench_live

_BROWSER = """#!{python}
import json, re, struct, sys, time
from websockets.sync.client import connect
host, port, token = re.fullmatch(r"http://(.+):(\\d+)/\\?token=(.+)", sys.argv[-1]).groups()
cookie = {{"Cookie": f"spadsr_live_{{port}}={{token}}"}}
with connect(f"ws://{{host}}:{{port}}/images", additional_headers=cookie) as socket:
    for message in socket:
        if isinstance(message, bytes):
            time.sleep(0.005)
            serial, _, taken = struct.unpack_from("<QQd", message, 8)
            said = {{"do": "drawn", "serial": serial, "drawn": True, "kind": message[5], "age": time.time() - taken}}
            socket.send(json.dumps(said))
"""


def test_what_is_drawn_is_counted(tmp_path: Path, small_weights: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(_BROWSER.format(python=sys.executable))
    browser.chmod(0o755)
    alone, both, single = bench_live(small_weights, 1.0, browser)
    assert alone.recorded > 0
    assert (alone.restored, alone.written, alone.lost) == (0, None, None)
    for run in (both, single):
        assert run.restored > 0
        assert run.written is not None
        assert run.written > 1000
        assert 5 < run.median <= run.late


def test_what_cannot_be_measured_is_one_line(tmp_path: Path, spadsr: Callable[..., Said]) -> None:
    with pytest.raises(InputError, match="expected 1 or more"):
        bench_live(seconds=0)
    said = spadsr("bench", "live", "--browser", tmp_path / "none")
    assert said.code == 2
    assert "no browser to draw in" in said.err

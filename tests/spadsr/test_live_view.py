"""The live view without a browser: who gets in, what is sent and how fast, orders, recordings, and what may fail."""

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from live_view import SHAPE, Client, Running, children, counts_of, live_view, memory, numbered_recording
from slow_line import slow_line
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hardware.captures.capture import open_capture
from hardware.hdf5.nexus_tree import NOTES
from noise_model.sensor import Sensor
from spadsr.live.flow import PATIENCE
from spadsr.live.message import Kind
from spadsr.restoration.result_file import read_result


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording in which image i holds counts that follow from i."""
    return numbered_recording(tmp_path_factory.mktemp("numbered") / "numbered.h5")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, numbered: Path) -> Iterator[Running]:
    """A live view of the numbered recording, played again and again, without a network."""
    with live_view(tmp_path_factory.mktemp("live"), f"replay:{numbered},loop=1", "--weights", "tiny") as view:
        yield view


# Who gets in


def asked(running: Running, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage]:
    """Status and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    with closing(connection):
        connection.putrequest("GET", path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{running.port}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def status(running: Running, path: str, **headers: str) -> int:
    return asked(running, path, **headers)[0]


def test_only_the_token_opens_the_page(running: Running) -> None:
    cookie = {"Cookie": f"spadsr_live_{running.port}={running.token}"}
    assert status(running, "/") == 401
    assert status(running, "/main.js") == 401
    assert status(running, "/?token=wrong") == 401
    assert status(running, "/?token=") == 401
    assert status(running, "/", Cookie=f"spadsr_live_{running.port}=wrong") == 401
    assert status(running, f"/?token={running.token}") == 303
    assert status(running, "/", **cookie) == 200
    assert status(running, "/main.js", **cookie) == 200


def test_no_other_page_and_no_other_name_of_the_server(running: Running) -> None:
    cookie = {"Cookie": f"spadsr_live_{running.port}={running.token}"}
    assert status(running, "/", **cookie, Host="evil.example") == 403
    assert status(running, "/", **cookie, Host=f"192.0.2.7:{running.port}") == 403, "it serves this machine only"
    assert status(running, "/", **cookie, Origin="http://evil.example") == 403
    assert status(running, "/", **cookie, Origin=f"http://127.0.0.1:{running.port + 1}") == 403
    assert status(running, "/", **cookie, Origin=f"http://127.0.0.1:{running.port}") == 200
    assert status(running, "/", Host=f"localhost:{running.port}", **cookie) == 200, "through a tunnel"
    with pytest.raises(InvalidStatus) as refused:
        Client(running, origin="http://evil.example")
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        Client(Running(running.process, running.url + "x"))
    assert refused.value.response.status_code == 403


def test_other_machines_come_by_an_address_or_the_name(tmp_path: Path, numbered: Path) -> None:
    options = ("--address", "0.0.0.0", "--no-token", "--weights", "none")
    with live_view(tmp_path, f"replay:{numbered},loop=1", *options) as running:
        printed = running.url.removeprefix("http://").rstrip("/")
        assert "0.0.0.0" not in printed, "no browser opens that"
        for host in (printed, f"192.0.2.7:{running.port}", f"[2001:db8::7]:{running.port}", socket.gethostname()):
            assert status(running, "/", Host=host) == 200, host
        assert status(running, "/", Host="evil.example") == 403, "a name that was made to lead here"
        assert status(running, "/", Host=printed, Origin="http://evil.example") == 403
        with Client(running) as client:
            assert client.image().first.shape == SHAPE


@pytest.mark.parametrize(
    "path", ["/../live_session.py", "/%2e%2e/server.py", "/..%2fserver.py", "/page", "/snapshot/../x"]
)
def test_no_file_but_those_of_the_page(running: Running, path: str) -> None:
    cookie = {"Cookie": f"spadsr_live_{running.port}={running.token}"}
    assert status(running, path, **cookie) == 404


def test_the_page_may_talk_to_this_server_only(running: Running) -> None:
    _, headers = asked(running, "/", Cookie=f"spadsr_live_{running.port}={running.token}")
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    _, exchanged = asked(running, f"/?token={running.token}")
    assert "samesite=strict" in exchanged["Set-Cookie"].lower()
    assert "httponly" in exchanged["Set-Cookie"].lower()
    assert exchanged["Location"] == "/", "the token leaves the address"


def test_a_huge_message_closes_that_page_only(running: Running) -> None:
    with Client(running) as other, Client(running) as client:
        with pytest.raises(ConnectionClosed):  # noqa: PT012
            client.socket.send("x" * 10_000_000)
            while True:
                client.socket.recv(timeout=30)
        assert other.image(Kind.RECORDED).first.shape == SHAPE


@pytest.mark.parametrize(
    "nonsense", ["", "[]", "{}", "[" * 5000, '{"do": "drawn"}', '{"do":"drawn","serial":"x"}', b"SPAD", '"do"']
)
def test_nonsense_closes_that_page_only(running: Running, nonsense: str | bytes) -> None:
    with Client(running) as client, Client(running) as other:
        client.socket.send(nonsense)
        with pytest.raises(ConnectionClosed):  # noqa: PT012
            while True:
                client.image()
        assert other.image(Kind.RECORDED).first.shape == SHAPE


def test_too_many_orders_close_that_page_only(running: Running) -> None:
    with Client(running) as client, Client(running) as other:
        with pytest.raises(ConnectionClosed):  # noqa: PT012
            for _ in range(100_000):
                client.say({"do": "sum", "images": 1})
        assert other.image(Kind.RECORDED).first.shape == SHAPE


# What is sent


def test_counts_are_those_of_the_image(running: Running) -> None:
    with Client(running) as client:
        for _ in range(20):
            image = client.image(Kind.RECORDED)
            np.testing.assert_array_equal(image.first, counts_of(image.last % 500))
            rate = image.second.astype(np.float64) * image.unit
            np.testing.assert_allclose(rate, image.first / 1e-5, rtol=1e-3)


@pytest.mark.parametrize("images", [7, 100])
def test_sums_are_sums(running: Running, images: int) -> None:
    with Client(running) as client:
        client.order("control")
        assert "error" not in client.order("sum", images=images)
        image = client.image(Kind.RECORDED, lambda image: image.images == images)
        expected = sum(counts_of((image.last - back) % 500).astype(int) for back in range(images))
        np.testing.assert_array_equal(image.first, expected)
        assert image.cycles == images
        client.order("sum", images=1)


def test_what_a_page_is_told_adds_up(running: Running) -> None:
    with Client(running) as client:
        for _ in range(50):
            client.image()
        state = client.wait("a sum was restored", lambda state, page: state["restored"]["images"] > 0)
        assert state["restored"]["images"] + state["restored"]["skipped"] == state["acquired"]["images"]
        page = client.page
        assert page["drawn"] + page["dropped"] <= page["sent"] <= page["drawn"] + page["dropped"] + page["window"]


def test_one_page_controls_and_all_look_on(running: Running) -> None:
    with Client(running) as first:
        first.wait("it is alone", lambda state, page: page["pages"] == 1 and page["controls"])
        with Client(running) as second:
            assert "another page controls" in second.order("sum", images=3)["error"]
            second.image(Kind.RESTORED)
            assert second.order("snapshot")["name"].endswith(".sr.h5"), "it changes nothing for others"
            assert "error" not in second.order("control")
            assert "error" not in second.order("sum", images=2)
            assert "another page controls" in first.order("sum", images=1)["error"]
            second.order("sum", images=1)
        state = first.wait("control comes back", lambda state, page: page["controls"])
        assert state["display"]["images"] == 1


def test_control_is_given_on_when_a_page_goes_without_a_word(running: Running) -> None:
    with Client(running) as first, Client(running) as second:
        second.order("control")
        second.socket.socket.shutdown(socket.SHUT_RDWR)
        first.wait("control comes back", lambda state, page: page["controls"])


def test_a_snapshot_says_what_it_is(running: Running, tmp_path: Path) -> None:
    with Client(running) as client:
        client.order("control")
        client.image(Kind.RESTORED)
        name = client.order("snapshot")["name"]
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        with closing(connection):
            connection.request("GET", f"/snapshot/{name}", headers=client.cookie)
            (tmp_path / name).write_bytes(connection.getresponse().read())
    with h5py.File(tmp_path / name) as file:
        assert file[NOTES].attrs["remark"] == b"Restored by a network: tiny"
        assert file[NOTES].attrs["camera"] == b"replay"
    assert read_result(tmp_path / name)[0].rate.shape == (4 * SHAPE[0], 4 * SHAPE[1])


@pytest.mark.parametrize(
    ("order", "arguments", "why"),
    [
        ("sum", {"images": 0}, "expected 1 to"),
        ("sum", {"images": "7"}, "expected 1 to"),
        ("sum", {"images": 1 << 40}, "expected 1 to"),
        ("restore", {"scale": 3}, "expected 1 or 2 or 4 or 8 or 16 for 64 x 32 pixels"),
        ("restore", {"weights": "../../etc/passwd"}, "no such network"),
        ("record", {"name": "../escape"}, "not a name"),
        ("record", {"name": "a", "kind": 9}, "expected 0"),
        ("record", {"name": "b", "seconds": -1}, "expected more than 0"),
        ("play", {"name": "/etc/passwd"}, "not a name"),
        ("play", {"name": "absent"}, "no such recording"),
        ("correct", {"subtract": True}, "no dark yet"),
        ("nothing", {}, "no such order"),
        ("sum", {"pictures": 3}, "unexpected keyword"),
    ],
)
def test_orders_that_cannot_be_carried_out_say_why(running: Running, order: str, arguments: dict, why: str) -> None:
    with Client(running) as client:
        client.order("control")
        assert why in client.order(order, **arguments)["error"]
        assert client.image(Kind.RECORDED).first.shape == SHAPE


def test_fifty_pages_that_go_leave_nothing(running: Running) -> None:
    clients = [Client(running) for _ in range(50)]
    random.Random(0).shuffle(clients)
    for client in clients[:25]:
        client.close()
    for client in clients[25:]:
        client.socket.socket.shutdown(socket.SHUT_RDWR)  # without a word
    with Client(running) as last:
        last.wait("the others are gone", lambda state, page: page["pages"] == 1)


def test_a_page_that_acknowledges_nothing_is_given_up(running: Running) -> None:
    with Client(running) as silent, Client(running) as other:
        silent.image(drawn=False)
        began = time.monotonic()
        with pytest.raises(ConnectionClosed):  # noqa: PT012
            while True:
                silent.image(drawn=False)
        assert time.monotonic() - began > PATIENCE - 5, "a page may be slow"
        assert other.image(Kind.RECORDED).first.shape == SHAPE


def test_the_client_of_the_docs_takes_part(running: Running) -> None:
    page = (Path(__file__).parents[2] / "docs" / "live.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    environment = {**os.environ, "SPADSR_LIVE": running.url}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    for line in lines:
        # The counts are from 0 to 996 in 10 us: a mean of 5e7 counts/s.
        found = re.fullmatch(r"(\S+) counts/s, restored in \d+ ms", line)
        assert found is not None
        assert float(found[1]) == pytest.approx(5e7, rel=0.3)


# Recordings


def test_a_recording_outlives_the_pages_and_has_no_gap(tmp_path: Path, numbered: Path) -> None:
    with live_view(tmp_path, f"replay:{numbered},loop=1", "--weights", "none") as running:
        with Client(running) as client:
            client.image()
            assert client.order("record", name="two seconds", seconds=2)["name"] == "two seconds.h5"
            assert "being recorded" in client.order("record", name="another")["error"]
            assert "end it first" in client.order("expose", count_time=2e-6)["error"]
        with Client(running) as client:
            state = client.wait("recorded", lambda state, page: state["recordings"] == ["two seconds.h5"])
            with open_capture(tmp_path / "two seconds.h5") as capture:
                images = capture.shape[0]
                assert images == state["recording"]["images"]
                assert state["recording"]["acquired"] == images + state["recording"]["lost"]
                assert images > 100, "however slow the machine"
                numbers = capture.sequence_number(0, images)
                assert numbers is not None
                assert (np.diff(numbers.astype(int)) == 1).all()
                for image in (0, images // 2, images - 1):
                    np.testing.assert_array_equal(
                        capture.read(image, image + 1)[0], counts_of(int(numbers[image]) % 500)
                    )
            client.order("play", name="two seconds")
            client.order("seek", image=3)
            shown = client.image(Kind.RECORDED, lambda image: image.last == 3)
            np.testing.assert_array_equal(shown.first, counts_of((int(numbers[0]) + 3) % 500))
            client.order("resume")
            client.image(Kind.RECORDED, lambda image: 3 < image.last < 100)


def test_exposure_is_applied_or_refused_and_images_go_on(tmp_path: Path) -> None:
    options = ("--sum", "100", "--weights", "none")
    with live_view(tmp_path, "simulated:spc3,even=1,flux=1e5", *options) as running, Client(running) as client:
        before = client.image(Kind.RECORDED).first.mean()
        assert "error" not in client.order("expose", count_time=2.08e-5)
        assert client.state["settings"]["count_time"] == pytest.approx(2.08e-5)
        after = client.image(Kind.RECORDED, lambda image: image.first.mean() > 1.5 * before)
        assert after.first.mean() == pytest.approx(2 * before, rel=0.05)
        assert "expected" in client.order("expose", count_time=1e5)["error"]
        assert client.image(Kind.RECORDED).images == 100
        assert client.state["camera"]["running"]
        assert "error" not in client.order("stop")
        client.wait("stopped", lambda state, page: not state["camera"]["running"])
        assert "start it first" in client.order("record", name="x")["error"]
        client.order("start")
        client.wait("running", lambda state, page: state["camera"]["running"])


def test_a_dark_is_subtracted_and_hot_pixels_are_masked(tmp_path: Path) -> None:
    options = ("--frame-time", "1e-4", "--sum", "1000", "--weights", "none")
    with live_view(tmp_path, "simulated:spc3,flux=0", *options) as running, Client(running) as client:

        def rate() -> np.ndarray:
            """Of a sum that began after the last order."""
            acquired = client.state["acquired"]
            ordered = acquired["images"] + acquired["lost"]
            image = client.image(Kind.RECORDED, lambda image: image.last > ordered + 1000)
            return image.second.astype(float) * image.unit

        client.wait("the first", lambda state, page: state["acquired"]["images"] > 0)
        known = Sensor.load("spc3").dark_count_rate.numpy().astype(float)
        # 1,000 images of 10.4 us: the mean of all pixels, on which a rate per pixel has this standard deviation.
        spread = (known.mean() / (1000 * 10.4e-6 * known.size)) ** 0.5
        assert rate().mean() == pytest.approx(known.mean(), abs=5 * spread + 0.001 * known.mean())
        assert "error" not in client.order("dark")
        assert client.state["display"]["subtract"]
        # That of the dark itself as well: a second of such images is ten times as many.
        assert abs(rate().mean()) < 5 * 1.05 * spread + 0.001 * known.mean()
        assert "error" not in client.order("find_hot")
        assert client.state["display"]["masked"] > 0
        masked = np.isnan(rate())
        assert masked.sum() == client.state["display"]["masked"]
        assert known[masked].min() > 3 * np.median(known)
        client.order("correct", subtract=False, mask=False)
        assert rate().mean() == pytest.approx(known.mean(), abs=5 * spread + 0.001 * known.mean())


# What may fail


def test_a_process_that_restores_may_be_killed_and_restarted(tmp_path: Path, numbered: Path) -> None:
    options = ("--sum", "100", "--weights", "tiny")
    with live_view(tmp_path, f"replay:{numbered},loop=1", *options) as running, Client(running) as client:
        client.image(Kind.RESTORED)
        for pid in children(running.process.pid):
            os.kill(pid, signal.SIGKILL)
        state = client.wait(
            "said", lambda state, page: any("ended unexpectedly" in b["line"] for b in state["banners"])
        )
        assert state["camera"]["running"]
        client.image(Kind.RECORDED)
        client.order("restart")
        client.image(Kind.RESTORED)


def test_sigterm_ends_a_recording_that_is_whole(tmp_path: Path) -> None:
    options = ("--frame-time", "1e-3", "--weights", "none")
    with live_view(tmp_path, "simulated:spc3", *options) as running, Client(running) as client:
        client.order("record", name="cut")
        client.wait("written", lambda state, page: state["recording"] and state["recording"]["images"] > 100)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(150) in (0, 143)
    with open_capture(tmp_path / "cut.h5") as capture:
        assert capture.shape[0] > 100


def test_a_slow_line_shows_late_images_to_nobody(tmp_path: Path) -> None:
    """80 ms there and back, 1 MB/s; beside it a page that reads nothing at all."""
    shape, seconds = (256, 256), 6.0
    path = numbered_recording(tmp_path / "large.h5", 60, shape)
    one_image = shape[0] * shape[1] * 4 / 1e6
    with (
        live_view(tmp_path, f"replay:{path},loop=1", "--weights", "none") as running,
        slow_line(running.port, 0.04, 1e6) as port,
        Client(running) as deaf,
        Client(running, port=port) as far,
        Client(running) as near,
    ):
        near.image(Kind.RECORDED)
        far.image(Kind.RECORDED)
        before, end, ages, seen = memory(running.process.pid), time.monotonic() + seconds, list[float](), 0
        while time.monotonic() < end:
            near.image(Kind.RECORDED)
            seen += 1
            while far.arrived():
                ages.append(time.time() - far.image(Kind.RECORDED).host_time)
        assert len(ages) > seconds / one_image / 3, "the line is used"
        assert np.median(ages) < 3 * 0.08 + 2 * one_image, ages
        assert seen > 2 * len(ages), "another page is as fast as ever"
        assert memory(running.process.pid) - before < 30
        near.wait("the deaf page is given up", lambda state, page: page["pages"] == 2)
        assert memory(running.process.pid) - before < 30
    deaf.close()


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, running: Running) -> None:
    command = ["live", "--camera", "simulated", "--port", str(running.port), "--no-browser", "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "spadsr", *command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "choose another port" in done.stderr

"""Fourier ptychography, cells in a channel and beads in water: what is found on drawn and real data, and refused."""

import zipfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from command import Said

from noise_model.errors import InputError
from spadsr.experiments import flow, fpm, particles
from spadsr.experiments.experiment import OURS, Task
from spadsr.experiments.registry import EXPERIMENTS
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer


@pytest.fixture(scope="module")
def tiny() -> Restorer:
    return load_restorer("tiny")


# Fourier ptychography


def test_a_true_object_has_no_error_and_another_has() -> None:
    stand = fpm.drawn_stand(0, 16, 25)
    perfect = fpm.figures(stand, stand.truth * (0.3 - 0.4j))
    assert perfect[fpm.CORRELATION] == pytest.approx(1, abs=1e-5)
    assert perfect[fpm.SSIM] == pytest.approx(1, abs=1e-5)
    assert perfect[fpm.PHASE] < 1e-4
    assert perfect[fpm.PSNR] > 60
    other = fpm.figures(stand, fpm.drawn_stand(1, 16, 25).truth)
    assert other[fpm.CORRELATION] < 0.8
    assert other[fpm.PHASE] > 0.1


def test_likelihood_is_best_from_few_photons_and_what_is_restored_first_stands_beside_it(
    tiny: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = fpm.drawn_stand(0, 24, 81)
    monkeypatch.setattr(fpm, "drawn_stand", lambda seed: small)
    outcome = fpm.run(Task(None, (2,), tiny))
    quality = {(row.condition, row.method): row.values[fpm.PSNR] for row in outcome.rows}
    assert quality[fpm.OWN, fpm.LIKELIHOOD] > quality[fpm.OWN, fpm.LEAST]
    assert quality[fpm.OWN, fpm.LIKELIHOOD] > quality[fpm.OWN, fpm.FIRST]
    assert quality[fpm.OWN, fpm.LIKELIHOOD] > quality[fpm.EVEN, fpm.LIKELIHOOD]
    won, *_ = outcome.said
    assert won.startswith(f"{fpm.OWN}: PSNR: {fpm.LIKELIHOOD} wins at N = 2")
    assert any(fpm.FIRST in each for each in outcome.said)
    assert list(outcome.pictures) == ["N = 2", "phase, N = 2"]


def test_other_matlab_files_are_refused_with_the_place_of_the_right_one(tmp_path: Path, spadsr: Said) -> None:
    other = tmp_path / "other.mat"
    scipy.io.savemat(other, {"imlow_HDR": np.ones((8, 8, 3), np.float32)})
    with pytest.raises(InputError, match="SmartImagingLabUConn"):
        fpm.measured_stand(other)
    other.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    said = spadsr("experiment", "fpm", "--data", other, "-o", tmp_path / "out")
    assert said.code == 2
    assert "3a8b07c71c374657f89a6f195d49523268860dcd25fc38c921677fcf841382a8" in "".join(said.err.split())
    assert not (tmp_path / "out").exists()


def test_on_a_real_smear_each_part_of_the_physics_is_worth_what_was_measured(shared: Path, tiny: Restorer) -> None:
    stand = fpm.measured_stand(shared / "data/applications/ptychography")
    assert stand.misfit <= 0.010
    bench = fpm._Bench(Task(None, (1, 16, 256), tiny), stand)

    def found(condition: str, frames: int, *methods: str) -> list[dict[object, float]]:
        return [dict(row.values) for row in bench.rows(condition, frames, methods)]

    [middle] = found(fpm.OWN, 16, fpm.LIKELIHOOD)
    assert middle[fpm.CORRELATION] >= 0.978
    assert middle[fpm.SSIM] >= 0.90
    assert middle[fpm.PHASE] <= 0.06
    [bright] = found(fpm.OWN, 256, fpm.LIKELIHOOD)
    assert bright[fpm.CORRELATION] >= 0.996
    for condition, frames, worse, gain in (
        (fpm.OWN, 1, fpm.LEAST, 2.5),
        (fpm.EVEN, 16, fpm.LEAST, 1.5),
        (fpm.HOT, 16, f"{fpm.LIKELIHOOD}, not calibrated", 1.5),
    ):
        one, two = found(condition, frames, worse, fpm.LIKELIHOOD)
        assert two[fpm.PSNR] >= one[fpm.PSNR] + gain, condition


# Cells in a channel


def disc_in_a_channel(row: float, column: float, radius: float) -> flow.Channel:
    """Four events, a dark disc in the first."""
    rows, columns = np.mgrid[:64, :128]
    image = 100 * (1 - 0.5 * (np.hypot(rows - row, columns - column) < radius))
    images = np.stack([image, *[np.full((64, 128), 100.0)] * 3]).astype(np.float32)
    return flow.Channel.of(images, 0.5)


def test_a_cell_is_found_where_it_is_and_as_large_as_it_is() -> None:
    channel = disc_in_a_channel(30, 50, 8)
    [cell] = channel.cells(channel.events[0], *flow._TRUE)
    np.testing.assert_allclose(cell[:2], [15, 25], atol=0.05)
    assert cell[2] == pytest.approx(np.pi * 16, rel=0.2)
    assert len(channel.cells(channel.events[1], *flow._TRUE)) == 0


def test_cells_move_along_the_channel_at_their_speed() -> None:
    channel = disc_in_a_channel(30, 50, 8)
    [cell] = channel.cells(channel.seen(0, 200e-6) / channel.ground, *flow._TRUE)
    np.testing.assert_allclose(cell[:2], [15, 25 + 200 * flow.SPEED], atol=0.05)


def test_sums_and_motion_are_measured_side_by_side(tiny: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    small = flow.drawn_channel(0, 4, (80, 120))
    monkeypatch.setattr(flow, "drawn_channel", lambda seed: small)
    outcome = flow.run(Task(None, (16, 64), tiny))
    assert {row.method for row in outcome.rows if row.frames == 64} == {"bicubic", "tv", OURS, flow.ALONG}
    assert flow.ALONG not in {row.method for row in outcome.rows if row.frames == 16}
    assert all(0 <= row.values[flow.F1] <= 1 for row in outcome.rows)
    assert any("F1 along the motion" in each for each in outcome.said)


def test_recordings_of_cells_are_read_plain_and_zipped_and_others_are_refused(tmp_path: Path) -> None:
    images = np.full((4, 80, 120), 100, np.uint8)
    images[0, 30:50, 40:60] = 50
    plain, packed, nameless = (tmp_path / name for name in ("a.rtdc", "a.zip", "b.rtdc"))
    for path in (plain, nameless):
        with h5py.File(path, "w") as file:
            file["events/image"] = images
            if path == plain:
                file.attrs["imaging:pixel size"] = 0.34
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(plain, "a.rtdc")
    for path in (plain, packed):
        channel = flow.read_channel(path)
        assert channel.events.shape == (4, 128, 128)
        [cell] = channel.cells(channel.events[0], *flow._TRUE)
        assert cell[2] == pytest.approx(400 * 0.34**2, rel=0.2)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    plain.write_bytes(b"not HDF5")
    for path in (nameless, packed, plain):
        with pytest.raises(InputError, match="DC-analysis/dclab"):
            flow.read_channel(path)


def test_real_cells_are_found_in_sixteen_frames(shared: Path, tiny: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In eight draws of each event: of 29 cells alone, one more or fewer is 0.02."""
    monkeypatch.setattr(flow, "_REPEATS", 8)
    path = shared / "data/applications/flow/fmt-hdf5_image-mask-blood_2021.zip"
    channel = flow.read_channel(path)
    bench = flow._Bench(Task(path, (16,), load_restorer()), channel)
    assert sum(map(len, bench.truth)) == 8 * 29
    [found] = [row.values[flow.F1] for row in bench.rows(16) if row.method == OURS]
    assert found >= 0.85


# Beads in water


def test_beads_are_located_to_a_tenth_of_a_pixel() -> None:
    film = particles.drawn_film(0, 3)
    assert film.places is not None
    places, answer = particles.located(film.pictures[0])
    rows, columns = film.places[0].T
    alone = [at for at in range(len(rows)) if np.sort(np.hypot(rows - rows[at], columns - columns[at]))[1] > 16]
    inside = [at for at in alone if 8 < rows[at] < 119 and 8 < columns[at] < 247]
    assert len(inside) > 5
    for at in inside:
        assert np.hypot(*(places - film.places[0][at]).T).min() < 0.1
    assert len(answer) == len(places)


def test_all_tracks_are_kept_where_all_beads_are_known(tiny: Restorer) -> None:
    bench = particles._Bench(Task(None, (16,), tiny), particles.drawn_film(0, 60))
    truth = [bench.truth[at] for at in bench.judged]
    assert bench._kept(truth) == 1
    assert bench._kept([each[::2] for each in truth]) < 0.7
    assert bench._kept([each[:0] for each in truth]) == 0


def test_beads_are_counted_in_sums(tiny: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(particles, "_WINDOWS", 4)
    outcome = particles.run(Task(None, (64,), tiny))
    f1 = {row.method: row.values[particles.F1] for row in outcome.rows}
    assert set(f1) == {particles.CLEAN, "bicubic", "tv", OURS, particles.ALONG}
    assert f1[particles.CLEAN] == max(f1.values()) > 0.85
    assert not any(particles.CLEAN in each for each in outcome.said)


def test_films_are_read_without_frames_that_were_trained_on(tmp_path: Path) -> None:
    for number in range(20):
        levels = np.full((140, 260), 200, np.uint8)
        levels[60:76, 100 + number] = 120
        cv2.imwrite(str(tmp_path / f"frame{number:03}.png"), levels)
    film = particles.read_film(tmp_path, 19)
    assert film.pictures.shape == (19, 128, 256)
    columns = [int(each.max(axis=0).argmax()) for each in film.pictures]
    assert columns == [98 + number for number in range(20) if number != 18]
    with pytest.raises(InputError, match=r"19 frames, of which 20 are needed.*trackpy-examples"):
        particles.read_film(tmp_path, 20)


def test_sums_longer_than_the_film_are_refused(tiny: Restorer) -> None:
    with pytest.raises(InputError, match="expected 900 at most"):
        particles.run(Task(None, (1000,), tiny))


def test_all_have_data_to_fetch_and_say_their_terms() -> None:
    for name in ("fpm", "flow", "particles"):
        data = EXPERIMENTS[name].data
        assert data is not None
        assert data.source.startswith("https://github.com/")
        assert data.licence

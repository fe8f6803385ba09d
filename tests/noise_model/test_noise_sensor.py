"""Sensor files: what is written is read back, and what is no sensor is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from laws_by_hand import binary, counting

from noise_model.config_files import shipped_configs
from noise_model.errors import InputError
from noise_model.estimates import Estimate
from noise_model.files import whole_file
from noise_model.sensor import Sensor

PRESETS = sorted(path.stem for path in (shipped_configs() / "sensors").glob("*.yaml"))


@st.composite
def any_sensor(draw: st.DrawFn) -> Sensor:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    bits = draw(st.integers(1, 16))
    kernel = draw(st.floats(0, 0.1)) * torch.rand(3, 3, generator=generator)
    kernel[1, 1] = 0
    mask = torch.randint(0, 512, shape, generator=generator, dtype=torch.int32) if draw(st.booleans()) else None
    return Sensor(
        name=draw(st.text(max_size=20)),
        pde=torch.rand(shape, generator=generator).clamp(min=1e-3),
        dark_count_rate=1e5 * torch.rand(shape, generator=generator),
        dead_time=0.0 if bits == 1 else draw(st.just(0.0) | st.floats(1e-12, 1e-6)),
        counter_bits=bits,
        afterpulse_probability=draw(st.floats(0, 0.5)),
        trap_lifetime=draw(st.floats(0, 1e-6)),
        crosstalk=kernel,
        counter_wraps=draw(st.booleans()),
        pixel_mask=mask,
        source=draw(st.text(max_size=20)),
        estimates=draw(st.dictionaries(st.text(max_size=20), any_estimate(), max_size=3)),
    )


def any_estimate() -> st.SearchStrategy[Estimate]:
    number = st.floats(-1e9, 1e9)
    return st.builds(Estimate, number, number, number, st.booleans(), st.text(max_size=20))


def same(one: Sensor, other: Sensor) -> None:
    for name, value in vars(one).items():
        back = getattr(other, name)
        if isinstance(value, torch.Tensor):
            assert back.dtype == value.dtype
            assert torch.allclose(back, value, rtol=1e-6 if name == "crosstalk" else 0, atol=0), name
        else:
            assert back == value, name


@given(any_sensor())
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, sensor: Sensor) -> None:
    path = tmp_path_factory.mktemp("sensor") / "mine.yaml"
    sensor.save(path)
    same(sensor, Sensor.load(path))
    assert sorted(p.name for p in path.parent.iterdir()) == ["mine.npz", "mine.yaml"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_are_always_the_same(name: str) -> None:
    sensor = Sensor.load(name)
    same(sensor, Sensor.load(name))
    assert sensor.name == name
    assert not sensor.measured
    assert sensor.pde.dtype == sensor.dark_count_rate.dtype == torch.float32
    assert sensor.pde.min() > 0
    assert sensor.pde.max() <= 1
    assert sensor.dark_count_rate.min() >= 0
    assert sensor.crosstalk[tuple(size // 2 for size in sensor.crosstalk.shape)] == 0


def test_the_presets_are_the_two_arrays() -> None:
    assert PRESETS == ["spad512", "spc3"]
    spc3, spad512 = Sensor.load("spc3"), Sensor.load("spad512")
    assert (spc3.shape, spc3.binary, spc3.dead_time) == ((64, 32), False, 50e-9)
    assert (spad512.shape, spad512.binary) == ((512, 512), True)
    assert 100 < spc3.dark_count_rate.mean() < 1500  # 445 cps is what dark frames of one such array give


def saved(folder: Path) -> Path:
    path = folder / "mine.yaml"
    counting((4, 6)).save(path)
    return path


def changed(path: Path, **changes: object) -> None:
    numbers = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({key: value for key, value in numbers.items() if value is not None}))


def maps(path: Path, **arrays: np.ndarray) -> None:
    good = {"pde": np.full((4, 6), 0.5), "dark_count_rate": np.zeros((4, 6))}
    np.savez(path.with_suffix(".npz"), **{k: v for k, v in (good | arrays).items() if v.size})


def test_further_maps_are_kept_beside_those_of_the_sensor(tmp_path: Path) -> None:
    sensor, low = binary((4, 6)), np.random.default_rng(0).random((4, 6))
    sensor.save(tmp_path / "mine.yaml", {"pde_low": low})
    same(sensor, Sensor.load(tmp_path / "mine.yaml"))
    with np.load(tmp_path / "mine.npz") as maps:
        assert np.array_equal(maps["pde_low"], low)


SPOILT = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "not YAML": lambda path: path.write_text("dead_time: [1, 2"),
    "a list": lambda path: path.write_text("- 1\n- 2\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "unknown key": lambda path: changed(path, deadtime=1e-9),
    "missing key": lambda path: changed(path, dead_time=None),
    "negative dead time": lambda path: changed(path, dead_time=-1e-9),
    "not a number": lambda path: changed(path, dead_time="fast"),
    "17 bits": lambda path: changed(path, counter_bits=17),
    "sure afterpulse": lambda path: changed(path, afterpulse_probability=1.0),
    "even kernel": lambda path: changed(path, crosstalk=[[0.0, 0.1], [0.1, 0.0]]),
    "ragged kernel": lambda path: changed(path, crosstalk=[[0.0, 0.1, 0.0], [0.1]]),
    "empty kernel": lambda path: changed(path, crosstalk=[]),
    "kernel with a centre": lambda path: changed(path, crosstalk=[[0.1]]),
    "negative kernel": lambda path: changed(path, crosstalk=[[0.0, 0.0, 0.0], [-0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    "kernel above one": lambda path: changed(path, crosstalk=[[0.0, 0.0, 0.0], [0.9, 0.0, 0.9], [0.0, 0.0, 0.0]]),
    "an estimate without an interval": lambda path: changed(path, estimates={"dead_time": {"value": 1e-9}}),
    "infinite dead time": lambda path: changed(path, dead_time=float("inf")),
    "neither maps nor statistics": lambda path: changed(path, maps=None),
    "no maps file": lambda path: path.with_suffix(".npz").unlink(),
    "empty maps file": lambda path: path.with_suffix(".npz").write_bytes(b""),
    "maps file is text": lambda path: path.with_suffix(".npz").write_text("no maps"),
    "truncated maps": lambda path: path.with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes()[:100]),
    "a map missing": lambda path: maps(path, pde=np.zeros(0)),
    "maps of two shapes": lambda path: maps(path, pde=np.full((4, 5), 0.5)),
    "flat maps": lambda path: maps(path, pde=np.full(24, 0.5), dark_count_rate=np.zeros(24)),
    "mask of another shape": lambda path: maps(path, pixel_mask=np.zeros((5, 6), dtype=np.int32)),
    "words for maps": lambda path: maps(path, pde=np.full((4, 6), "bright")),
    "NaN in the PDE map": lambda path: maps(path, pde=np.full((4, 6), np.nan)),
    "PDE above one": lambda path: maps(path, pde=np.full((4, 6), 50.0)),
    "PDE of zero": lambda path: maps(path, pde=np.zeros((4, 6))),
    "negative dark rate": lambda path: maps(path, dark_count_rate=np.full((4, 6), -1.0)),
    "pickled maps": lambda path: maps(path, pde=np.array([[{}]], dtype=object)),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_is_no_sensor_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    path = saved(tmp_path)
    SPOILT[fault](path)
    with pytest.raises(InputError) as error:
        Sensor.load(path)
    assert "\n" not in str(error.value)
    assert "mine" in str(error.value)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="spad512, spc3"):
        Sensor.load("spc4")


def test_statistics_without_a_shape_are_refused(tmp_path: Path) -> None:
    numbers = yaml.safe_load((shipped_configs() / "sensors" / "spc3.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in numbers.items() if key != "shape"}))
    with pytest.raises(InputError, match="shape"):
        Sensor.load(path)


def test_a_sensor_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    with pytest.raises(InputError):
        counting((4, 6)).save(folder / "mine.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_uniform_array_has_the_same_numbers() -> None:
    sensor = Sensor.load("spc3").uniform((8, 12))
    assert sensor.shape == (8, 12)
    assert sensor.pde.unique().numel() == sensor.dark_count_rate.unique().numel() == 1
    assert sensor.pde[0, 0].item() == pytest.approx(0.5, rel=0.01)
    assert sensor.dark_count_rate[0, 0] == 54
    assert sensor.dead_time == 50e-9


def test_to_moves_every_map() -> None:
    sensor = Sensor(**(vars(binary((4, 6))) | {"pixel_mask": torch.zeros(4, 6, dtype=torch.int32)})).to("meta")
    tensors = [value for value in vars(sensor).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 4
    assert {value.device.type for value in tensors} == {"meta"}


def test_good_pixels_are_those_with_a_clear_mask() -> None:
    sensor = binary((2, 2))
    assert sensor.good.all()
    marked = Sensor(**(vars(sensor) | {"pixel_mask": torch.tensor([[0, 1], [8, 0]], dtype=torch.int32)}))
    assert marked.good.tolist() == [[True, False], [False, True]]


def test_a_whole_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.txt"
    with whole_file(path) as partial:
        partial.write_text("all of it")
        assert not path.exists()
        assert partial.suffix == ".txt"
    assert [p.name for p in path.parent.iterdir()] == ["out.txt"]
    assert path.read_text() == "all of it"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask(tmp_path)


def _umask(folder: Path) -> int:
    probe = folder / "probe"
    probe.touch()
    return 0o666 & ~probe.stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_nothing_is_left_of_a_file_that_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before")

    def fail() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error("stop")

    with pytest.raises(error):
        fail()
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_an_unwritable_place_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    def write() -> None:
        with whole_file(tmp_path / "file" / "out.txt"):
            pass

    with pytest.raises(InputError, match=r"out\.txt"):
        write()


def test_a_sensor_shows_itself_in_a_line() -> None:
    assert repr(Sensor.load("spc3")) == "<Sensor spc3: 64 x 32 pixels, counting, 9 bit, dead time 5e-08 s>"
    assert repr(Sensor.load("spad512")) == "<Sensor spad512: 512 x 512 pixels, binary>"

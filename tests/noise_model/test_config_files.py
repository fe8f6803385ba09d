"""Configuration text: what is read, and that what would cost time or memory is refused in one line."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise_model.config_files import find_config, parsed_json, parsed_yaml, read_config
from noise_model.errors import InputError

_LAUGHS = "a0: &a0 [0, 0, 0, 0]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20))


def test_ordinary_values_aliases_and_dates() -> None:
    assert parsed_yaml("a: &x {b: [1, 2.5, true]}\nc: *x\nd: {<<: *x, e: ~}\nf: 2001-99-99") == {
        "a": {"b": [1, 2.5, True]},
        "c": {"b": [1, 2.5, True]},
        "d": {"b": [1, 2.5, True], "e": None},
        "f": "2001-99-99",
    }
    assert parsed_json('{"a": [1, 2.5, null, "[[["]}') == {"a": [1, 2.5, None, "[[["]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested more than 32 deep"),
        ("- " * 50_000, "nested more than 32 deep"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: " + "1:" * 3000 + "1", "a number of 6001 characters"),
        (_LAUGHS, "more than 65536 values"),
        ("a: &x [*x]", "stands inside of"),
        ("#" * 200_000, "longer than 131072 characters"),
        ("a: !!timestamp x", "not of the type that its tag says"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: [1", "in line 1"),
    ],
)
def test_hostile_yaml_is_refused_in_a_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        parsed_yaml(text)
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=r"a\.yaml: not a readable YAML file") as told:
        read_config(tmp_path / "a.yaml", "sensor")
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"b\.yaml: no such sensor; check the name"):
        read_config(tmp_path / "b.yaml", "sensor")


@pytest.mark.parametrize("text", ["[" * 1000 + "]" * 1000, '{"a":' * 100_000, "9" * 41, "{", '"' + "a" * 200_000 + '"'])
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|number|longer|Expecting"):
        parsed_json(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parsed in (parsed_yaml, parsed_json):
        with suppress(ValueError):
            parsed(text)


def test_a_home_is_written_out_and_no_pipe_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("name: x")
    assert find_config("~/mine.yaml", "sensors", "sensor") == tmp_path / "mine.yaml"
    with pytest.raises(InputError, match="no such sensor file"):
        find_config("/dev/null", "sensors", "sensor")

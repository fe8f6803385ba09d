"""The names that others import from `noise_model` itself."""

import subprocess
import sys

import pytest

import noise_model


def test_every_name_is_there_and_says_what_it_is() -> None:
    assert sorted(noise_model.__all__) == list(noise_model.__all__)
    for name in noise_model.__all__:
        thing = getattr(noise_model, name)
        assert thing.__name__ == name
        assert thing.__doc__
    assert set(noise_model.__all__) <= set(dir(noise_model))


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="Senor"):
        noise_model.Senor  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_no_torch() -> None:
    """A name is loaded when it is used."""
    loaded = "print('torch' in sys.modules)"
    code = f"import sys, noise_model; {loaded}; noise_model.Sensor; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]

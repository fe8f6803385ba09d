"""The names that others import from `noise_model` itself."""

import copy
import json
import pickle
import subprocess
import sys

import pytest

import noise_model
from noise_model.errors import Note


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


def test_a_note_is_its_sentence_and_keeps_its_arguments() -> None:
    """Also on its way to another process."""
    note = Note("binary array assumed", "counter_bits", "sensor")
    assert note == "binary array assumed"
    assert json.dumps([note]) == '["binary array assumed"]'
    for other in (note, copy.deepcopy(note), pickle.loads(pickle.dumps(note))):
        assert (type(other), other, other.arguments) == (Note, "binary array assumed", ("counter_bits", "sensor"))

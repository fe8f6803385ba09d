"""Requests to stop: the first is noted, and one that follows after a while is told."""

import signal

import pytest

from noise_model import interrupts
from noise_model.interrupts import noted_signals


@pytest.mark.parametrize(("same", "told"), [(0.0, [signal.SIGTERM, signal.SIGINT]), (3600.0, [])])
def test_only_what_follows_after_a_while_is_a_second_request(
    monkeypatch: pytest.MonkeyPatch, same: float, told: list[int]
) -> None:
    monkeypatch.setattr(interrupts, "SAME", same)
    again: list[int] = []
    with noted_signals(again.append) as noted:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
            assert noted() == number
    assert again == told

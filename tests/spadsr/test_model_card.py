"""The tables of docs/model-card.md: the script that measures them fills every one, and touches nothing else."""

import re
from pathlib import Path

import cv2
import make_model_card
import numpy as np
import pytest

TABLE = re.compile(r"<!-- (\w+) -->\n.*?\n<!-- end -->", re.DOTALL)


def test_all_tables_are_written_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, pictures, rng = tmp_path / "model-card.md", tmp_path / "pictures", np.random.default_rng(0)
    before = make_model_card.PAGE.read_text(encoding="utf-8")
    page.write_text(before, encoding="utf-8")
    (tmp_path / "images").mkdir()
    pictures.mkdir()
    for name in ("one", "two"):
        cv2.imwrite(str(pictures / f"{name}.png"), rng.integers(0, 256, (64, 64), np.uint8))
    monkeypatch.setattr(make_model_card, "PAGE", page)
    monkeypatch.setattr(make_model_card, "DOCS", tmp_path)
    make_model_card.main(pictures)
    after = page.read_text(encoding="utf-8")
    assert TABLE.sub("", after) == TABLE.sub("", before)
    old, new = ({found[1]: found[0].splitlines() for found in TABLE.finditer(text)} for text in (before, after))
    assert list(new) == ["binary", "honesty", "counting", "scales", "long", "tiny"]
    for name, lines in new.items():
        assert [len(line.split("|")) for line in lines] == [len(line.split("|")) for line in old[name]], name
        assert lines[2:4] == old[name][2:4], f"{name}: other columns than on the page"
        assert lines != old[name], f"{name}: the same figures on pictures of noise"
    assert (tmp_path / "images" / "coverage.png").stat().st_size > 0

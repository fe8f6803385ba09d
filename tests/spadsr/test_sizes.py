"""The table of docs/restore.md that says how small results are: the script that measures it fills it in."""

import re
from pathlib import Path

import make_limits
import make_sizes
import pytest


def test_the_table_is_written_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, page = make_sizes.PAGE.read_text(encoding="utf-8"), tmp_path / "restore.md"
    page.write_text(before, encoding="utf-8")
    for module, changed in ((make_sizes, {"PAGE": page, "IMAGES": 2, "FRAMES": (16,)}), (make_limits, {"CUTS": 1})):
        for name, value in changed.items():
            monkeypatch.setattr(module, name, value)
    make_sizes.main()
    after = page.read_text(encoding="utf-8")
    (start, old, end), (same_start, new, same_end) = (
        re.split("<!-- sizes -->|(?<=\n)<!-- end -->", text) for text in (before, after)
    )
    assert (start, end) == (same_start, same_end)
    assert [line.count("|") for line in new.splitlines()] == [line.count("|") for line in old.splitlines()]
    smaller = [float(each) for each in re.findall(r"1/([\d.]+)", new)]
    assert len(smaller) == 2 * (2 + 1 + 1)  # two compressions of two sums and of both weights
    assert min(smaller) > 2
    assert max(smaller) < 8

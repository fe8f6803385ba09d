"""What an experiment is: plain data that says what it shows, the files it takes, and a function that measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from noise_model.arrays import Floats, Picture
from noise_model.errors import InputError
from noise_model.progress import Report, silent
from spadsr.evaluation.methods import Method, methods_named
from spadsr.restoration.restorer import Restorer

#: The name of the network among methods; those of its other uses begin with it.
OURS = "spadsr"


@dataclass(frozen=True)
class Data:
    """Files that an experiment takes, and where they are; nothing is ever downloaded.

    Attributes:
        what: what a user hands over, "a folder with ...".
        source: where it comes from.
        size: as people read it.
        sha256: of the file, or of some of the files by their names.
        licence: its terms, as far as they are stated.
    """

    what: str
    source: str
    size: str
    sha256: str
    licence: str

    def refused(self, path: Path, found: str) -> InputError:
        """The error that says what was found instead, and where the files are."""
        terms = f"{self.size}; SHA-256 {self.sha256}; licence: {self.licence}"
        return InputError(f"{path}: {found}; expected {self.what}, from {self.source} ({terms})")


@dataclass(frozen=True)
class Measure:
    """A figure that experiments take.

    Attributes:
        name: as people call it.
        unit: empty where it has none.
        tie: difference below which nobody has won.
        more: whether more of it is better.
        digits: behind the point.
    """

    name: str
    unit: str = ""
    tie: float = 0.0
    more: bool = True
    digits: int = 2

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


@dataclass(frozen=True)
class Row:
    """The figures of a method under a condition.

    Attributes:
        frames: hardware frames summed, N.
        values: by measure; those that were not taken are missing.
        condition: what differs beside N; empty where nothing does.
    """

    frames: int
    method: str
    values: Mapping[Measure, float]
    condition: str = ""


def measures_of(rows: Sequence[Row]) -> list[Measure]:
    """The measures that were taken, in the order in which they came."""
    return list(dict.fromkeys(measure for row in rows for measure in row.values))


@dataclass(frozen=True)
class Panel:
    """A picture as it is drawn.

    Attributes:
        picture: (H, W).
        low, high: values that are black and white.
        marks: (n, 2) rows and columns that are marked, in pixels of the picture.
    """

    picture: Picture
    low: float = 0.0
    high: float = 1.0
    marks: Floats | None = None


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    Attributes:
        rows: one for every condition and method.
        pictures: panels by heading, of each line of pictures by its label.
        said: sentences on who won, one for each measure or question.
        facts: whatever else made the figures, for the record.
        notes: sentences on what was assumed or left out.
    """

    rows: Sequence[Row]
    pictures: Mapping[str, Mapping[str, Panel]]
    said: Sequence[str]
    facts: Mapping[str, object]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Task:
    """How an experiment is run.

    Attributes:
        data: the files; None draws a scene.
        frames: hardware frames summed, N, of each condition.
        progress: called with the number of steps done and that of all.
    """

    data: Path | None
    frames: Sequence[int]
    restorer: Restorer
    seed: int = 0
    progress: Report = silent

    def methods(self, slow: bool = True) -> dict[str, Method]:
        """Bicubic, total variation, BM3D where it is installed, and the network, by name.

        Args:
            slow: whether BM3D, which takes about a second for 4,000 pixels, is wanted.
        """
        bm3d = ["bm3d"] if slow and find_spec("bm3d") else []
        return methods_named(["bicubic", "tv", *bm3d, OURS], {OURS: self.restorer})


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        name: that it is asked for by.
        shows: one sentence.
        drawn: what is drawn where no data are given.
        data: the files that it takes; None where there are none.
        frames: N of its conditions, unless others are asked for.
        seconds: that it takes on two cores, about.
        run: measures. Raises InputError for files that are not what it takes.
    """

    name: str
    shows: str
    drawn: str
    data: Data | None
    frames: tuple[int, ...]
    seconds: int
    run: Callable[[Task], Outcome]

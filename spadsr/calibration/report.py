"""Reports of calibrations and checks: one HTML file with tables and pictures in it, which needs no network."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from hardware.settings import in_seconds
from noise_model.calibration.calibrate import Calibration
from noise_model.calibration.goodness import Goodness, reasons
from noise_model.estimates import Estimate
from noise_model.files import whole_file
from noise_model.plain_text import encodable
from noise_model.sensor import Exposure
from spadsr.calibration import check_figures, figures
from spadsr.pictures.plots import png
from spadsr.provenance import versions


@dataclass(frozen=True)
class Used:
    """A recording that went into a calibration or a check.

    Attributes:
        name: of the file.
        kind: `dark`, `flat` or `scene`.
        shape: (T, H, W).
        remarks: what was assumed about the recording.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    exposure: Exposure
    sha256: str
    remarks: tuple[str, ...] = ()


#: Name of an estimate: in words, its unit, and the factor from an SI value to that unit.
QUANTITIES = {
    "dead_time": ("dead time", "ns", 1e9),
    "afterpulse_probability": ("afterpulse probability", "%", 100.0),
    "trap_lifetime": ("trap lifetime", "ns", 1e9),
    "crosstalk_nearest": ("crosstalk, nearest neighbour", "%", 100.0),
    "dark_bulk": ("dark rate of an ordinary pixel", "cps", 1.0),
    "dark_bulk_sigma": ("its spread, sd of ln", "", 1.0),
    "dark_hot_fraction": ("share of hot pixels", "%", 100.0),
    "dark_hot_median": ("dark rate of a hot pixel", "cps", 1.0),
    "dark_hot_sigma": ("its spread, sd of ln", "", 1.0),
    "pde_mean": ("mean PDE", "%", 100.0),
    "pde_spread": ("relative spread of the PDE", "%", 100.0),
}

ESTIMATES = ("quantity", "value", "95 % interval", "")
CHECKS = ("statistic", "here", "95 % of captures", "sd off", "p", "fits")


def estimate_rows(estimates: Mapping[str, Estimate]) -> list[list[str]]:
    """Estimates as the cells of the table `ESTIMATES`."""
    return [[words(name), *_numbers(name, one), "" if one.measured else "assumed"] for name, one in estimates.items()]


def words(name: str) -> str:
    """The name of an estimate in words."""
    return QUANTITIES.get(name, (name.replace("_", " "), "", 1.0))[0]


def assumed(estimates: Mapping[str, Estimate]) -> list[str]:
    """A sentence for every estimate that the captures did not decide."""
    return [f"{words(name)}: assumed; {one.remark}" for name, one in estimates.items() if not one.measured]


def check_rows(found: Goodness) -> list[list[str]]:
    """The statistics of a check as the cells of the table `CHECKS`."""
    return [
        [
            check.name,
            f"{check.measured:.4f}",
            f"{check.low:.4f} to {check.high:.4f}",
            f"{check.deviation:+.1f}",
            f"{check.p:.3f}",
            "yes" if check.fits else "no",
        ]
        for check in found.checks
    ]


def verdict(found: Goodness) -> str:
    """The verdict of a check in one sentence."""
    if found.fits:
        return f"The sensor explains the capture: p = {found.p:.2f} over all statistics, {found.images} images."
    failing = sum(not check.fits for check in found.checks)
    return f"The sensor does not explain the capture: {failing} of {len(found.checks)} statistics do not fit."


def write_calibration(path: Path, calibration: Calibration, used: Sequence[Used], command: str) -> None:
    """Writes the report of a calibration."""
    sections = [
        _table((*ESTIMATES[:-1], "how"), _explained(calibration.estimates)),
        *_remarks(calibration.remarks),
        *_pictures(calibration),
        *_fluxes(calibration),
        *_provenance(used, command),
    ]
    _write(path, f"Calibration: {calibration.sensor.name}", sections)


def write_check(path: Path, found: Goodness, sensor: str, used: Used, command: str) -> None:
    """Writes the report of a check."""
    sections = [
        f'<p class="{"good" if found.fits else "bad"}">{escape(verdict(found))}</p>',
        *_remarks(reasons(found)),
        _table(CHECKS, check_rows(found)),
        _picture("Spread of the counts", "Dots: pixels.", png(check_figures.fano(found))),
        _picture("Histograms", "Pixels by brightness.", png(check_figures.histograms(found))),
        *_provenance([used], command),
    ]
    _write(path, f"{used.name} under {sensor}", sections)


def _explained(estimates: Mapping[str, Estimate]) -> Iterator[list[str]]:
    """Estimates as in `estimate_rows`, with the remark of each in the last cell."""
    for row, one in zip(estimate_rows(estimates), estimates.values(), strict=True):
        yield [*row[:-1], one.remark if one.measured else f"assumed: {one.remark}"]


def _pictures(calibration: Calibration) -> Iterator[str]:
    """The figures that the recordings allow."""
    drawn = [
        (
            "Maps",
            "Dark count rate and relative efficiency of every pixel, and how well they are known.",
            figures.map_panels,
        ),
        (
            "Dark count rates in order",
            "Pixels with few counts of their own lean on the dashed spread.",
            figures.dark_curve,
        ),
    ]
    if calibration.flats:
        drawn += [
            ("Spread of the counts", "Dots: pixels. Discs: all good pixels of a flat together.", figures.fano_curve),
            (
                "Crosstalk",
                "Chances that an avalanche in the middle fires its neighbours, and 95 % intervals.",
                figures.kernel,
            ),
            ("Memory", "Correlation of images with later ones; bars: one standard error.", figures.memory),
        ]
    if len(calibration.flats) > 1:
        drawn.append(("Residuals", "Is every pixel as bright in one flat as in the others?", figures.residuals))
    for title, caption, draw in drawn:
        yield _picture(title, caption, png(draw(calibration)))


def _fluxes(calibration: Calibration) -> Iterator[str]:
    if calibration.flats:
        rows = [
            [flat.name, f"{flux.value:.4g} /s", f"{flux.low:.4g} to {flux.high:.4g}"]
            for flat, flux in zip(calibration.flats, calibration.flux, strict=True)
        ]
        yield "<h2>Light</h2>"
        yield _table(("flat", "detections of a pixel of mean PDE", "95 % interval"), rows)


def _numbers(name: str, estimate: Estimate) -> list[str]:
    _, unit, factor = QUANTITIES.get(name, (name, "", 1.0))
    value, low, high = (factor * each for each in (estimate.value, estimate.low, estimate.high))
    return [f"{value:.4g} {unit}".rstrip(), f"{low:.4g} to {high:.4g}" if estimate.measured else "-"]


def _provenance(used: Sequence[Used], command: str) -> Iterator[str]:
    header = ("recording", "used as", "images", "exposure", "sha256")
    rows = [
        [one.name, one.kind, " x ".join(map(str, one.shape)), _exposure(one.exposure), one.sha256[:16]] for one in used
    ]
    yield "<h2>Made from</h2>"
    yield _table(header, rows)
    yield from _remarks(f"{one.name}: {remark}" for one in used for remark in one.remarks)
    yield f"<p><code>{escape(command)}</code></p>"
    yield f"<p>{escape(', '.join(f'{name} {version}' for name, version in versions().items()))}</p>"


def _exposure(exposure: Exposure) -> str:
    return f"{exposure.cycles} x {in_seconds(exposure.count_time)}"


def _remarks(remarks: Iterable[str]) -> Iterator[str]:
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    if items:
        yield f"<ul>{items}</ul>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _picture(title: str, caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f"<h2>{escape(title)}</h2><p>{escape(caption)}</p>"
        f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'
    )


def _write(path: Path, title: str, sections: Iterable[str]) -> None:
    page = _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(sections))
    with whole_file(path) as partial:
        partial.write_text(encodable(page), encoding="utf-8")


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #dde3e8; }
img { max-width: 100%; } code { background: #f2f4f6; padding: .1rem .3rem; overflow-wrap: anywhere; }
.good { color: #1d6b4f; font-weight: 600; } .bad { color: #a93226; font-weight: 600; }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""

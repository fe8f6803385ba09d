"""The figures of docs/model-card.md that are measured on simulated counts of pictures, and docs/images/coverage.png.

python docs/make_model_card.py PICTURES  # half an hour of a core
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from make_limits import put

from spadsr.bench.quality import OURS, OURS_ENLARGED, compare
from spadsr.evaluation.conditions import Condition, conditions_of
from spadsr.evaluation.evaluate import Evaluation
from spadsr.evaluation.figures import figures
from spadsr.evaluation.summaries import Mean, Summary, summarised
from spadsr.evaluation.tables import markdown_table
from spadsr.pictures.plots import save_png
from spadsr.restoration.weights import load_restorer

DOCS = Path(__file__).parent
PAGE = DOCS / "model-card.md"
WHITE = 0.2  # detections of a binary array in a frame
FRAMES = (1, 4, 16, 64, 256)
HONESTY = ("total rate", "worst tenth", "inside 68 %", "inside 95 %")

#: What networks are measured against.
NAMES = {"bm3d": "BM3D", "nlm": "non-local means", "tv": "total variation"}


def measured(
    pictures: Path,
    conditions: Sequence[Condition],
    baselines: Sequence[str] = ("bicubic",),
    weights: str = "base",
    limit: int | None = None,
) -> Evaluation:
    """The errors of the baselines and of some weights."""

    def told(done: int, total: int) -> None:
        print(f"\r{weights}, {conditions[0].mode}: {done:,} of {total:,}", end="", file=sys.stderr, flush=True)

    networks = {OURS: load_restorer(weights)}
    return compare(pictures, conditions, baselines, networks, 0, limit, told).evaluation


def found(evaluation: Evaluation, method: str) -> dict[Condition, Summary]:
    """The means of a method, by condition."""
    return {each.condition: each for each in summarised(evaluation) if each.method == method}


def lead_on(evaluation: Evaluation, rival: str, condition: Condition) -> Mean:
    """The difference of our PSNR and a rival's, picture by picture, dB."""
    by_picture = {(row.image, row.method): row.psnr for row in evaluation.rows if row.condition == condition}
    leads = [psnr - by_picture[image, rival] for (image, method), psnr in by_picture.items() if method == OURS]
    return Mean(statistics.mean(leads), statistics.stdev(leads) / len(leads) ** 0.5)


def binary(pictures: Path) -> None:
    """At x4: PSNR beside all others, and all else that is measured beside BM3D."""
    evaluation = measured(pictures, conditions_of("binary", [4], [WHITE], FRAMES), ["bicubic", *NAMES])
    ours, others = found(evaluation, OURS), {name: found(evaluation, name) for name in ("bicubic", *NAMES)}
    table = [["N", "bicubic", *NAMES.values(), "**spadsr**", "lead on BM3D", "lead on the best"]]
    honesty = [
        [
            "N",
            "SSIM: BM3D, spadsr",
            "worst 5 %: BM3D, spadsr",
            "total rate",
            "worst tenth",
            "inside 68 %",
            "by picture, 10th to 90th percentile",
            "inside 95 %",
            "mean uncertainty, % of white",
        ]
    ]
    for condition, own in ours.items():
        theirs = [f"{other[condition].psnr.value:.2f}" for other in others.values()]
        rival = others["bm3d"][condition]
        lead = f"{lead_on(evaluation, 'bm3d', condition):+}"
        table.append([str(condition.frames), *theirs, f"**{own.psnr}**", lead, lead_of(own)])
        honesty.append(
            [
                str(condition.frames),
                f"{rival.ssim.value:.3f}, {own.ssim.value:.3f}",
                f"{rival.worst:.2f}, {own.worst:.2f}",
                *rates(own),
                percent(own.within_68),
                spread(own),
                percent(own.within_95),
                percent(own.sharpness),
            ]
        )
    put(PAGE, "binary", list(markdown_table(table, numbers=True)))
    put(PAGE, "honesty", list(markdown_table(honesty, numbers=True)))
    save_png(figures(summarised(evaluation))["coverage"], DOCS / "images" / "coverage.png", 150)


def counting(pictures: Path) -> None:
    """One frame of a counting array at x4, by the mean counts of white."""
    evaluation = measured(pictures, conditions_of("counting", [4], [0.3, 2.0, 8.0], [1]))
    bicubic = found(evaluation, "bicubic")
    table = [["mean counts of white", "bicubic", "**spadsr**", "lead", "SSIM: bicubic, spadsr", *HONESTY]]
    for condition, own in found(evaluation, OURS).items():
        other = bicubic[condition]
        similar = f"{other.ssim.value:.3f}, {own.ssim.value:.3f}"
        shares = percent(own.within_68), percent(own.within_95)
        psnr = f"{other.psnr}", f"**{own.psnr}**", lead_of(own)
        table.append([f"{condition.flux:g}", *psnr, similar, *rates(own), *shares])
    put(PAGE, "counting", list(markdown_table(table, numbers=True)))


def other_scales(pictures: Path) -> None:
    """x1, x2, x8 and x16 of a binary array, the latter two beside the bicubic enlargement of the x4 answer."""
    evaluation = measured(pictures, conditions_of("binary", [1, 2, 8, 16], [WHITE], [16, 256]), limit=40)
    table = [["resolution, N", "bicubic", "**spadsr**", "x4 answer, bicubic", "inside 68 %", "inside 95 %"]]
    others = [found(evaluation, name) for name in ("bicubic", OURS_ENLARGED)]
    for condition, own in found(evaluation, OURS).items():
        other, enlarged = (each[condition].psnr.value for each in others)
        above = f"{enlarged:.2f}" if condition.scale > 4 else ""
        shares = percent(own.within_68), percent(own.within_95)
        table.append([f"x{condition.scale}, {condition.frames}", f"{other:.2f}", f"**{own.psnr}**", above, *shares])
    put(PAGE, "scales", list(markdown_table(table, numbers=True)))


def long_exposures(pictures: Path) -> None:
    """Longer ones than any that was learnt from."""
    conditions = [
        *conditions_of("binary", [4], [WHITE], [1_000_000]),
        *conditions_of("counting", [4], [8.0], [1024, 100_000]),
    ]
    evaluation = measured(pictures, conditions, limit=44)
    bicubic = found(evaluation, "bicubic")
    table = [["array, frames", "bicubic", "**spadsr**", "inside 68 %", "inside 95 %"]]
    for condition, own in found(evaluation, OURS).items():
        other = bicubic[condition].psnr.value
        shares = percent(own.within_68), percent(own.within_95)
        table.append([f"{condition.mode}, {condition.frames:,}", f"{other:.2f}", f"**{own.psnr}**", *shares])
    put(PAGE, "long", list(markdown_table(table, numbers=True)))


def tiny(pictures: Path) -> None:
    """`tiny` at x4, beside `base` on the same counts."""
    conditions = [*conditions_of("binary", [4], [WHITE], FRAMES), *conditions_of("counting", [4], [0.3, 2.0, 8.0], [1])]
    base, small = (found(measured(pictures, conditions, weights=weights), OURS) for weights in ("base", "tiny"))
    table = [["array, N or counts of white", "**tiny**", "below `base`", "total rate", "worst 5 %", *HONESTY[2:]]]
    for condition, own in small.items():
        at = condition.frames if condition.mode == "binary" else f"{condition.flux:g}"
        below, total = base[condition].psnr.value - own.psnr.value, rates(own)[0]
        shares = percent(own.within_68), percent(own.within_95)
        table.append([f"{condition.mode}, {at}", f"**{own.psnr}**", f"{below:.2f}", total, f"{own.worst:.2f}", *shares])
    put(PAGE, "tiny", list(markdown_table(table, numbers=True)))


def rates(own: Summary) -> tuple[str, str]:
    """By how much the total rate differs from the truth's, and a tenth of the answer's values at most."""
    return f"{100 * (own.total_ratio - 1):+.2f} %", f"{100 * own.worst_tenth:.2f} %"


def lead_of(own: Summary) -> str:
    """The lead on the best of the others."""
    assert own.lead is not None
    return f"{own.lead:+}"


def percent(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:.1f}"


def spread(own: Summary) -> str:
    assert own.within_68_of_pictures is not None
    low, high = own.within_68_of_pictures
    return f"{100 * low:.0f} to {100 * high:.0f}"


def main(pictures: Path) -> None:
    torch.set_num_threads(1)
    for part in (binary, counting, other_scales, long_exposures, tiny):
        part(pictures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

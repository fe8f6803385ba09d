"""The pictures and figures of docs/limits.md: nothing is needed but the package.

python docs/make_limits.py [WEIGHTS]        # writes docs/images/limits_*.png and the tables inside docs/limits.md
"""

import sys
from pathlib import Path

import numpy as np
import torch
from limits_cases import CASES, CONTROLS, FRAME, NATIVE, SCALE, Case, Image, array

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure
from spadsr.evaluation.metrics import block_mean
from spadsr.pictures.sheets import enlarged, rate_scale
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

DOCS = Path(__file__).parent
PANEL = 1.75  # inches
BLOCKS = (1, 2, 4, 8, 16)
FRAMES = (1, 4, 16, 64, 256)
PICTURES = ("camera", "coins", "brick", "grass", "gravel", "moon", "clock", "cell")
CUTS = 4  # of each picture


def answer_to(case: Case, restorer: Restorer) -> Restored:
    """Rates of one case in detections a frame and native pixel area."""
    counts = torch.from_numpy(case.counts)[None]
    return restorer.restore(counts, case.model, case.scale)[0]


def row(label: str, case: Case, answer: Restored) -> str:
    """The figures of one case, as a row of a table."""
    error, truth = (answer.rate - case.truth)[case.region], case.truth[case.region]
    relative = np.abs(error) / answer.uncertainty[case.region]
    figures = (
        f"{truth.mean():.3g}",
        f"{answer.rate[case.region].mean():.3g}",
        f"{np.sqrt(np.mean(error**2)):.3g}",
        f"{np.sqrt(np.mean(answer.uncertainty[case.region] ** 2)):.3g}",
        f"{np.mean(relative <= 1):.0%}",
        f"{np.mean(relative <= answer.coverage_factor):.0%}",
        f"{answer.check.chi_squared:.2f}",
    )
    return " | ".join((f"| {label}", *figures)) + " |"


def draw(case: Case, answer: Restored, path: Path) -> None:
    """Recorded, answer and truth at one brightness scale; |error| and standard uncertainty at another one, linear."""
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    recorded, _ = case.model.detection_rate(torch.from_numpy(case.counts.astype(np.float32)))
    light = rate_scale(case.truth)
    dark = Normalize(0, float(np.percentile(np.abs(answer.rate - case.truth), 99)), clip=True)
    panels = (
        ("recorded", enlarged(recorded.numpy(), case.scale), light),
        ("answer", answer.rate, light),
        ("truth", case.truth, light),
        ("|error|", np.abs(answer.rate - case.truth), dark),
        ("uncertainty", answer.uncertainty, dark),
    )
    figure = Figure(figsize=(len(panels) * PANEL, PANEL + 0.5), layout="constrained", facecolor="white")
    for axes, (heading, picture, norm) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.imshow(picture, cmap="gray", norm=norm, interpolation="nearest")
        if heading == "truth" and not case.region.all():
            axes.contour(case.region, [0.5], colors="#e9a23b", linewidths=0.6)
        axes.set_title(heading, fontsize=8)
        axes.set_axis_off()
    whites = f"white = {light.vmax:.3g} and {dark.vmax:.3g} detections a frame"
    figure.suptitle(f"{case.title}   ({whites})", fontsize=8)
    figure.savefig(path, dpi=110, format="png")


def block_coverage(restorer: Restorer, frames: int) -> dict[int, tuple[float, float]]:
    """Shares of the means over blocks, by the pixels on their side, whose truth lies within one uncertainty.

    Two of each, over cuts of photographs at x4: if errors of neighbours were independent, and if they were the same.
    """
    model, inside = ForwardModel(array(), Exposure(FRAME, frames)), {side: np.zeros(2) for side in BLOCKS}
    scenes = cuts()
    for seed, truth in enumerate(scenes):
        native = torch.from_numpy(block_mean(truth, SCALE))
        counts = model.sample(native, torch.Generator().manual_seed(seed))
        rate, sd, _ = (part[0].numpy() for part in restorer.answer(counts[None], model, SCALE))
        for side, total in inside.items():
            error = np.abs(block_mean(rate - truth, side))
            independent = np.sqrt(block_mean(sd**2, side)) / side
            total += np.mean(error <= independent), np.mean(error <= block_mean(sd, side))
    return {side: (float(a), float(b)) for side, (a, b) in ((s, t / len(scenes)) for s, t in inside.items())}


def cuts() -> list[Image]:
    """(128, 128) each, white = 0.2 detections a frame: of scikit-image's photographs, none of which was trained on."""
    import skimage.data

    found = []
    for name in PICTURES:
        picture = np.asarray(getattr(skimage.data, name)(), np.float32) / np.float32(255)
        side = NATIVE * SCALE
        for place in range(CUTS):
            top = (picture.shape[0] - side) * (place // 2)
            left = (picture.shape[1] - side) * (place % 2)
            found.append(np.float32(0.2) * picture[top : top + side, left : left + side])
    return found


def block_table(restorer: Restorer) -> list[str]:
    headings = " | ".join(f"{side} x {side}" for side in BLOCKS)
    lines = [f"| N | {headings} |", "| ---: |" + " ---: |" * len(BLOCKS)]
    for frames in FRAMES:
        found = block_coverage(restorer, frames).values()
        lines.append(f"| {frames} | " + " | ".join(f"{apart:.0%}, {same:.0%}" for apart, same in found) + " |")
    return lines


def put(page: Path, name: str, lines: list[str]) -> None:
    """Writes lines between `<!-- name -->` and `<!-- end -->` of the page."""
    text = page.read_text()
    start = text.index(f"<!-- {name} -->") + len(f"<!-- {name} -->")
    end = text.index("<!-- end -->", start)
    page.write_text(text[:start] + "\n\n" + "\n".join(lines) + "\n\n" + text[end:])


def main() -> None:
    torch.set_num_threads(1)
    restorer, rows = load_restorer(sys.argv[1] if len(sys.argv) > 1 else None), []
    for make in CASES:
        case = make()
        answer = answer_to(case, restorer)
        draw(case, answer, DOCS / "images" / f"limits_{case.name}.png")
        rows.append(row(f"[{case.name}](#{case.name})", case, answer))
    rows += [
        row(label, case, answer_to(case, restorer))
        for label, case in ((label, make()) for label, make in CONTROLS.items())
    ]
    print("\n".join(rows), flush=True)
    head = "| | truth | answer | error | uncertainty | inside 68 % | inside 95 % | chi-squared |"
    put(DOCS / "limits.md", "cases", [head, "| --- |" + " ---: |" * 7, *rows])
    table = block_table(restorer)
    print("\n".join(table))
    put(DOCS / "limits.md", "blocks", table)


if __name__ == "__main__":
    main()

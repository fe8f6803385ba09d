"""The curves of a training run: a table and a plot."""

import csv
from pathlib import Path
from typing import TypeAlias

from noise_model.files import whole_file
from spadsr.pictures.plots import save_png

#: A row for each point of the curves.
History: TypeAlias = list[dict[str, float]]


def write_curves(history: History, folder: Path) -> None:
    """Writes curves.csv and curves.png into a folder, each whole or not at all."""
    with whole_file(folder / "curves.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    with whole_file(folder / "curves.png") as partial:
        _plot(history, partial)


def _plot(history: History, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    samples = [row["samples"] for row in history]
    for axes, name, label in zip(figure.subplots(1, 2), ("gain_db", "loss"), ("dB over bicubic", "loss"), strict=True):
        axes.plot(samples, [row[name] for row in history], marker="." if len(history) < 20 else "")
        axes.set(xlabel="captures seen", ylabel=label)
        axes.grid(alpha=0.3)
    save_png(figure, path, 120)

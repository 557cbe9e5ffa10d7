"""Drawings of results, the same for the same figures."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "hactrl"
mpl.rcParams["svg.fonttype"] = "none"


def plot_ratios(file: Path, panels: Mapping[str, Mapping[str, list[float]]]) -> Path:
    """For each panel and each way the spread of a ratio: median, quartiles, 5 % to 95 %."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8))
    for axis, (title, ways) in zip(axes, panels.items(), strict=True):
        boxes = axis.boxplot(
            list(ways.values()),
            whis=(5, 95),
            widths=0.6,
            flierprops={"marker": ".", "markersize": 3},
            patch_artist=True,
        )
        for box in boxes["boxes"]:
            box.set_facecolor("#cfe0f0")
        axis.set_xticks(range(1, len(ways) + 1), list(ways), rotation=20)
        axis.axhline(1.0, color="grey", linewidth=0.8, linestyle="--")
        axis.set_ylim(bottom=0.0)
        axis.set_title(title)
        axis.set_ylabel("over one interface, by graph")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    return file


def plot_race(file: Path, panels: Mapping[str, Mapping[str, list[float]]]) -> Path:
    """For each failure and contender every run (a dot) and the median (a line), in milliseconds,
    on one logarithmic scale."""
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter

    names = list(next(iter(panels.values())))
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(max(6.5, 1.2 + 1.7 * len(panels)), 4.4), sharey=True, squeeze=False
    )
    for axis, (title, contenders) in zip(axes[0], panels.items(), strict=True):
        for place, seconds in enumerate(contenders.values()):
            times = sorted(1e3 * each for each in seconds)
            colour = f"C{place}"
            axis.plot([place] * len(times), times, ".", color=colour, markersize=4)
            if times:
                middle = statistics.median(times)
                axis.plot([place - 0.35, place + 0.35], [middle, middle], color=colour)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title("\n".join(textwrap.wrap(title, 16)), fontsize=9)
        axis.set_xticks([])
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.grid(axis="y", linewidth=0.4)
    axes[0][0].set_ylabel("without an answer, ms")
    marks = [Line2D([], [], color=f"C{place}") for place in range(len(names))]
    figure.legend(marks, names, loc="lower center", ncols=min(len(names), 3), fontsize=9)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
    return file

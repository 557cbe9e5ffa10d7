"""Drawings of results, the same for the same figures."""

from __future__ import annotations

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

"""A world's score card as a figure: a cell a check, a row a generation.

figures.save(ladders.verdicts(card.to_dict()), "card.png")
"""

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vrjax.report.figures import EDGE, INK, SOFT, Shown, styled

TONES = {"passed": "#009e73", "failed": "#d55e00", "not applicable": "#d5dbe2", "not tested": "#f0e442"}
"""Of verdicts; each cell says its verdict in words too, so that it can be read without colours."""
WIDTH = 22
"""Letters in a line of a cell."""


def verdicts(card: Mapping[str, Any]) -> Figure:
    """The figure.

    Args:
        card: what `Scorecard.to_dict` says.
    """
    rows, axes = card["rows"], list(card["axes"])
    most = max(sum(row["generation"] == g + 1 for row in rows) for g in range(len(axes)))
    with styled():
        figure = Shown(figsize=(1.5 + 1.5 * most, 0.7 + 0.95 * len(axes)), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.add_subplot()
        for g, name in enumerate(axes):
            mine = [row for row in rows if row["generation"] == g + 1]
            reached = card["generation"] > g
            told = f"{g + 1}  {name}" + ("\nreached" if reached else "")
            axis.text(-0.05, g + 0.45, told, ha="right", va="center", color=INK if reached else SOFT)
            for i, row in enumerate(mine):
                tone = TONES[row["verdict"]]
                axis.add_patch(Rectangle((i + 0.03, g + 0.05), 0.94, 0.8, facecolor="white", edgecolor=EDGE))
                axis.add_patch(Rectangle((i + 0.03, g + 0.05), 0.06, 0.8, facecolor=tone))
                axis.text(i + 0.14, g + 0.12, f"{row['name']}  {row['verdict']}", va="top", fontsize=8, color=INK)
                title = textwrap.fill(row["title"], WIDTH, max_lines=3, placeholder=" …")
                axis.text(i + 0.14, g + 0.36, title, va="top", fontsize=7, color=SOFT)
        axis.set_xlim(-1.0, most)
        axis.set_ylim(len(axes), 0)
        axis.set_axis_off()
        quick = ", quick sizes" if card["quick"] else ""
        axis.set_title(f"{card['world']} against {card['truth']}{quick}: generation {card['generation']}")
        return figure

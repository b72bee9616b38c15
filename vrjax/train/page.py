"""The page of a training run, drawn from `metrics.jsonl` alone: curves so far, validation, and what went wrong."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vrjax.files import writing
from vrjax.report import html, parts

POINTS = 300  # of a curve; longer runs are drawn as means over neighbouring updates
Rows = Sequence[Mapping[str, Any]]
Role = parts.Role

# title, (key, name, role) of each line, caption, range
REWARDS = (
    "Reward: minus beta / 2 times the error above the reference's. A run that only makes losers worse is no success."
)
LONE = "won by the loser alone"
CURVES: tuple[tuple[str, tuple[tuple[str, str, Role], ...], str, tuple[float, float] | None], ...] = (
    ("Loss", (("loss", "loss", "model"),), "", None),
    (
        "rewards/accuracies",
        (
            ("rewards/accuracies", "rewards/accuracies", "model"),
            ("loser_dominant", LONE, "control"),
        ),
        "Share of pairs with a positive margin; of these, those that are right only because the loser got worse.",
        (0.0, 1.0),
    ),
    (
        "rewards/margins",
        (
            ("rewards/margins", "rewards/margins", "model"),
            ("rewards/chosen", "rewards/chosen", "model"),
            ("rewards/rejected", "rewards/rejected", "model"),
        ),
        REWARDS,
        None,
    ),
    (
        "Winners' error beside the reference's",
        (("win_error", "policy, winners", "model"), ("reference_win_error", "reference, winners", "null")),
        "Flow error on the same noise. Where the policy's rises over the reference's, its samples get worse.",
        None,
    ),
    (
        "Losers' error beside the reference's",
        (("lose_error", "policy, losers", "model"), ("reference_lose_error", "reference, losers", "null")),
        "",
        None,
    ),
    ("Norm of the gradient", (("grad_norm", "grad_norm", "model"),), "Before it is clipped.", None),
    ("Learning rate", (("lr", "lr", "model"),), "", None),
)


def write(folder: pathlib.Path, config: Any, state: str, alerts: Sequence[str] = ()) -> None:
    """`report.html` of a run.

    Args:
        folder: of the run, with its `metrics.jsonl`.
        config: of the run.
        state: what to say of it, such as "running".
        alerts: said at the top; remarks that stand in `metrics.jsonl` follow.
    """
    html.write(folder, page(read(folder / "metrics.jsonl"), config, state, alerts))


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a file that is being written: a torn last line is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def page(rows: Rows, config: Any, state: str, alerts: Sequence[str] = ()) -> parts.Page:
    """The page of these rows; arguments as of `write`."""
    updates = [row for row in rows if "loss" in row]
    checks = [row for row in rows if "validation" in row]
    remarks = [f"{row['remark']}" for row in rows if "remark" in row]
    done = max((row["step"] for row in rows), default=0)
    curves = [validation(checks)] if checks and checks[-1]["validation"] else []
    curves += [
        one for title, lines, why, span in CURVES if (one := curve(updates, title, lines, why, span)) is not None
    ]
    return parts.Page(
        title=config.name,
        subtitle=f"{state}, step {done} of {config.steps}",
        alerts=[*alerts, *remarks],
        curves=curves,
        ledes={"curves": "Means over neighbouring updates. Dashed grey is the reference that training started from."}
        if any("reference_win_error" in row for row in updates)
        else {"curves": "Means over neighbouring updates."},
        tables=[latest(checks)] if checks and checks[-1]["validation"] else [],
        config=writing.to_dict(config),
    )


def curve(
    rows: Rows, title: str, lines: Sequence[tuple[str, str, Role]], caption: str, span: tuple[float, float] | None
) -> parts.Curve | None:
    """One plot over updates; None where no row has any of its values."""
    found = [
        parts.Series(name, *thinned(has, key), role=role)
        for key, name, role in lines
        if (has := [row for row in rows if key in row])
    ]
    return parts.Curve(title, found, caption, "updates", y_range=span, sync=False) if found else None


def thinned(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """`(y, x)` with at most `POINTS` points, each the mean of its neighbours."""
    x, y = (np.array([row[name] for row in rows], float) for name in ("step", key))
    pieces = min(POINTS, len(x))
    mean = lambda values: np.array([piece.mean() for piece in np.array_split(values, pieces)])
    return mean(y), mean(x)


def validation(checks: Rows) -> parts.Curve:
    """Solved-rates of every task at every validation, with Wilson's intervals."""
    x = [row["step"] for row in checks]
    of = lambda task, what: [row["validation"][task][what] for row in checks]
    lines = [parts.Series(t, of(t, "solved"), x, of(t, "low"), of(t, "high")) for t in checks[-1]["validation"]]
    clips = next(iter(checks[-1]["validation"].values()))["n"]
    caption = f"Share of {clips} validation clips of each task that are solved, with 95 % intervals (Wilson)."
    return parts.Curve("Solved at every validation", lines, caption, "updates", "share", (0.0, 1.0), sync=False)


def latest(checks: Rows) -> parts.Table:
    """The last validation in numbers."""
    last = checks[-1]
    cells = [[t, r["solved"], r["low"], r["high"], r["n"]] for t, r in last["validation"].items()]
    return parts.Table(f"Validation at step {last['step']}", ["task", "solved", "from", "to", "clips"], cells)

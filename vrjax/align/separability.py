"""Before training: can winners and losers be told apart by something that is no content at all?

If they can (a scale, an offset, a codec), preference learning will learn that. The released RealDPO cache could: its
losers had been encoded from pixels 0 ... 255 instead of -1 ... 1.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

STATISTICS = ("mean", "std", "min", "max")


class Separability(NamedTuple):
    """What was found.

    Attributes:
        win, lose: {statistic: (clips,)} of each clip's elements.
        auc: {statistic: probability that a random loser's value exceeds a random winner's}, ties count one half.
        effect: {statistic: |difference of means| over the winners' own element-wise standard deviation}.
        gross: statistics that tell the sides apart and by an amount that no content explains.
        notes: one line per statistic that separates at all, for a person.
    """

    win: dict[str, np.ndarray]
    lose: dict[str, np.ndarray]
    auc: dict[str, float]
    effect: dict[str, float]
    gross: tuple[str, ...]
    notes: tuple[str, ...]


def check(pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, auc: float = 0.99, effect: float = 0.5) -> Separability:
    """Compares mean, std, min and max of winners and losers.

    Args:
        pairs: (winner (...), losers (losers, ...)) latents or pixels; some tens of pairs are enough.
        auc: a statistic separates when its AUC is at least this, or at most 1 minus this.
        effect: and it is gross when the sides' means differ by more than so many standard deviations of the winners'
            elements. A model's samples may overshoot the exact range of a procedural world by a hair, which separates
            perfectly and matters little; an affine error of preprocessing is of the size of the data.

    Raises:
        ValueError: fewer than two pairs.
    """
    win: dict[str, list[float]] = {name: [] for name in STATISTICS}
    lose: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for winner, losers in pairs:
        for side, clips in ((win, [winner]), (lose, losers)):
            for clip in clips:
                for name in STATISTICS:
                    side[name].append(float(getattr(np.asarray(clip, np.float64), name)()))
    if len(win["mean"]) < 2 or not lose["mean"]:
        raise ValueError(f"separability: expected at least 2 pairs with losers, found {len(win['mean'])} winners")
    found_win = {name: np.asarray(values) for name, values in win.items()}
    found_lose = {name: np.asarray(values) for name, values in lose.items()}
    scale = max(float(found_win["std"].mean()), 1e-12)
    aucs, effects, gross, notes = {}, {}, [], []
    for name in STATISTICS:
        a, b = found_win[name], found_lose[name]
        aucs[name] = float(np.mean((b[:, None] > a) + 0.5 * (b[:, None] == a)))
        effects[name] = abs(float(b.mean() - a.mean())) / scale
        if max(aucs[name], 1 - aucs[name]) >= auc:
            notes.append(f"{name} tells losers from winners ({b.mean():.3g} against {a.mean():.3g})")
            if effects[name] > effect:
                gross.append(name)
    return Separability(found_win, found_lose, aucs, effects, tuple(gross), tuple(notes))


def refuse(found: Separability, where: str) -> None:
    """Raises ValueError where winners and losers differ grossly."""
    if found.gross:
        raise ValueError(
            f"{where}: winners and losers differ trivially ({'; '.join(found.notes)}): preprocess both alike, or set "
            "allow_separable"
        )

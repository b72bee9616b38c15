"""Synthetic runs that look like mazes: a stand-in for a model, made of known candidates, for tests of the report."""

import numpy as np

from vrjax.report import html
from vrjax.report.guesses import Guess
from vrjax.report.record import Check, Claim, Contrast

FLOOR, WALL, PATH, START, GOAL = (
    (1.0, 1.0, 1.0),
    (-0.86, -0.84, -0.78),
    (0.85, -0.7, -0.72),
    (-0.7, 0.35, -0.5),
    (-0.75, -0.4, 0.75),
)
FRAMES, BLOCKS = 9, 6
PROMPT = "A red line grows from the green square to the blue square through the open cells, without crossing a wall."
INTRO = """A video diffusion model does not draw its answer frame after frame. \
It draws the whole clip at once, roughly, and then again, better.

This page shows every one of those drafts for a few held-out mazes, \
and what the same instruments read on a model that cannot search."""
HOSTILE = (
    '</script><script>window.hit=1</script><img src=x onerror="window.hit=2">{{ 7*7 }}{% raw %}\u202eRTL\u2028<!-- '
    + "W" * 400
)


def maze(seed: int, cells: int = 5):
    """Random spanning tree of a cells x cells grid -> (raster (2n, 2n, 3), path to the goal, path to a dead end)."""
    rng = np.random.default_rng(seed)
    n = cells
    raster = np.full((2 * n, 2 * n, 3), WALL)
    parent, stack, seen = {}, [(0, 0)], {(0, 0)}
    while stack:
        r, c = stack[-1]
        free = [(r + a, c + b) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)) if 0 <= r + a < n and 0 <= c + b < n]
        free = [cell for cell in free if cell not in seen]
        if not free:
            stack.pop()
            continue
        cell = free[rng.integers(len(free))]
        parent[cell] = (r, c)
        seen.add(cell)
        stack.append(cell)

    def walk(cell):
        out = [cell]
        while cell in parent:
            cell = parent[cell]
            out.append(cell)
        out = out[::-1]
        pixels = []
        for a, b in zip(out, out[1:], strict=False):
            pixels += [(2 * a[0], 2 * a[1]), (a[0] + b[0], a[1] + b[1])]
        return [*pixels, (2 * out[-1][0], 2 * out[-1][1])]

    raster[::2, ::2] = FLOOR
    for (r, c), (p, q) in parent.items():
        raster[r + p, c + q] = FLOOR
    leaves = sorted((cell for cell in seen if cell not in parent.values()), key=lambda cell: -len(walk(cell)))
    return raster, walk(leaves[0]), walk(leaves[1])


def video(raster, path, frames: int = FRAMES):
    out = np.repeat(raster[None], frames, 0).copy()
    for t in range(frames):
        for r, c in path[: 1 + round((len(path) - 1) * t / (frames - 1))]:
            out[t, r, c] = PATH
        out[t, path[0][0], path[0][1]] = START
        out[t, path[-1][0], path[-1][1]] = GOAL if t < frames - 1 else PATH
    return out


def upscale(x, k: int = 4):
    return x.repeat(k, -3).repeat(k, -2)


def guess_at(seed: int, step: int, steps: int, score: float) -> Guess:
    """Nothing to read at first, then one of the two paths."""
    if step < steps * (0.25 + 0.05 * seed):
        return Guess("unreadable")
    return Guess("right", "to the goal") if score else Guess("other", "into the dead end")


def case(
    seed: int, *, seeds: int = 3, steps: int = 20, maps: bool = True, prompt: str | None = None, **fields
) -> html.Case:
    """A run whose guesses drift from a blend of two paths to one of them; seed 1 commits to the wrong one."""
    rng = np.random.default_rng(seed)
    raster, right, wrong = maze(seed)
    good, bad = video(raster, right), video(raster, wrong)
    bad[:, right[-1][0], right[-1][1]] = GOAL
    u = np.linspace(1, 0, steps + 1)
    sigma = (5 * u / (1 + 4 * u))[:steps]
    scores = [0.0 if s == 1 and seeds > 1 else 1.0 for s in range(seeds)]
    x0 = np.zeros((seeds, steps, FRAMES, *raster.shape))
    noisy, energy, ink = np.zeros_like(x0), np.zeros((seeds, steps, BLOCKS, FRAMES)), np.zeros((seeds, steps))
    tokens = np.zeros((seeds, steps, BLOCKS, FRAMES, 5, 5))
    for s in range(seeds):
        noise = rng.normal(size=(FRAMES, *raster.shape))
        for i in range(steps):
            lean = 1 / (1 + np.exp(-(i - steps * (0.25 + 0.05 * s)) / (steps * 0.06)))
            weight = 0.5 + 0.5 * lean if scores[s] else 0.5 - 0.5 * lean
            guess = weight * good + (1 - weight) * bad
            blur = np.clip(1 - 3 * i / steps, 0, 1) ** 2
            guess = (
                (1 - 0.55 * blur) * guess
                + 0.55 * blur * raster.mean((0, 1))
                + 0.1 * blur * rng.normal(size=guess.shape)
            )
            x0[s, i] = guess
            noisy[s, i] = (1 - sigma[i]) * guess + sigma[i] * noise
            depth = np.arange(BLOCKS)[:, None]
            energy[s, i] = np.exp(-((depth / BLOCKS - i / steps) ** 2) / 0.08) * (
                1 + 0.1 * np.arange(FRAMES)
            ) + 0.1 * rng.random((BLOCKS, FRAMES))
            change = np.abs(guess - raster).mean(-1).reshape(FRAMES, 5, 2, 5, 2).mean((2, 4))
            tokens[s, i] = energy[s, i][..., None, None] * (0.15 + change[None])
            ink[s, i] = np.maximum(0, np.abs(guess - raster).max(-1) - np.abs(good - raster).max(-1))[-1].sum() / 10
    layer_maps, curves = (), ()
    if maps:
        layer_maps = (
            html.LayerMap(
                "Token energy per block", energy, "L2 norm of the tokens after each block, per frame.", relative="row"
            ),
            html.LayerMap("Where each block looks", tokens, "The same, token by token, at the frame in view."),
        )
        curves = (
            html.Curve(
                "Off-solution ink",
                [html.Series("this run", ink)],
                "Ink on cells that the one solution leaves free. The exact posterior mean has none at any step.",
                y_label="cells",
            ),
        )
    values = dict(
        name=f"Maze {seed}",
        prompt=prompt or PROMPT,
        x0=upscale(x0),
        truth=upscale(good),
        noisy=upscale(noisy),
        sigma=sigma,
        guesses=[[guess_at(s, i, steps, scores[s]) for i in range(steps)] for s in range(seeds)],
        other="other path",
        world="maze",
        events=(
            html.Event(round(steps * 0.3), "commits to one path"),
            html.Event(round(steps * 0.6), "the wrong path has faded", 0),
        ),
        maps=layer_maps,
        curves=curves,
    )
    return html.Case(**{**values, **fields})


def curves(steps: int = 20):
    s = np.arange(steps)
    model = 1 + 2.1 * np.exp(-s / 5)
    null = 1 + 1.3 / (1 + np.exp((s - 9) / 1.6))
    solved = 0.85 / (1 + np.exp(-(s - 4) / 2)) + 0.04
    return (
        html.Curve(
            "Candidates kept alive",
            [
                html.Series("model", model, low=model - 0.22, high=model + 0.22),
                html.Series("oracle null", null, low=null - 0.08, high=null + 0.08, role="null"),
            ],
            "Effective number of candidate paths: exp of the entropy of their likelihood.",
            y_label="N_eff",
        ),
        html.Curve(
            "Solved if stopped here",
            [
                html.Series("model", solved, low=solved - 0.05, high=solved + 0.05),
                html.Series("causal attention", solved * 0.7, role="control"),
                html.Series("oracle null", np.ones(steps), role="null"),
            ],
            "Share of mazes whose guess at this step passes the verifier.",
            y_range=(0, 1.05),
            y_label="share",
        ),
        html.Curve(
            "Damage of one noised step",
            [
                html.Series("replaced", 0.8 - 0.8 / (1 + np.exp(-(s - 9) / 2))),
                html.Series("level-matched", 0.8 + 0.06 * np.exp(-(((s - 8) / 4) ** 2))),
                html.Series("null, replaced", np.full(steps, 0.15), role="null"),
            ],
            y_label="solved",
        ),
    )


def forest():
    arms = [
        html.Effect("single run", 0.0, -0.012, 0.012, 1750, role="null"),
        html.Effect("hidden mean, middle blocks, step 0", 0.021, 0.004, 0.038, 1750),
        html.Effect("x̂₀ mean, first 5 steps", 0.024, 0.007, 0.041, 1750),
        html.Effect("latent mean, variance restored", 0.012, -0.006, 0.03, 1750),
        html.Effect("low temperature start", 0.043, 0.026, 0.06, 1750, role="control"),
        html.Effect("majority of 3", 0.036, 0.02, 0.052, 1750, role="control"),
        html.Effect("late steps", -0.002, -0.019, 0.015, 1750),
    ]
    return html.Forest(
        "Ensembles of three seeds at equal compute",
        arms,
        "Paired difference from the single run. Rivals are orange.",
        "difference in solved share",
        0.0,
        "single run",
    )


PAPER = "Demystifying Video Reasoning"
CLAIMS = (
    Claim(
        id="cos.exploration",
        paper=PAPER,
        statement="Early steps hold several candidate answers at once, and later steps drop all but one.",
        statistic="mean N_eff at steps 0–4 beside the null's",
        estimate=2.83,
        interval=(2.61, 3.05),
        seeds=8,
        instances=400,
        null=2.1,
        null_interval=(2.05, 2.15),
        verdict="reproduced",
        direction="greater",
    ),
    Claim(
        id="cos.step_frame",
        paper=PAPER,
        statement="Noise at one step hurts more than noise at one frame, at an equal number of replaced cells.",
        statistic="paired difference in solved share",
        estimate=0.11,
        interval=(-0.02, 0.24),
        seeds=8,
        instances=400,
        null=0.14,
        verdict="inconclusive",
    ),
    Claim(
        id="cos.ensemble",
        paper=PAPER,
        statement="Averaging the middle layers of three seeds beats a low-temperature start of the same cost.",
        statistic="paired difference in solved share",
        estimate=-0.022,
        interval=(-0.041, -0.003),
        seeds=5,
        instances=1750,
        smallest=0.031,
        unit="of mazes",
        role="primary",
        p=0.97,
        holm=1.0,
        per_seed=(-0.03, -0.01, -0.02, -0.03, -0.02),
        share=0.4,
        beside={"untrained": 0.001},
        null=0.0,
        verdict="not reproduced",
        direction="greater",
        arms=("hidden mean", "low temperature"),
        notes="Blocks and steps were chosen on validation only.",
    ),
    Claim(
        id="cos.memory",
        paper=PAPER,
        statement="The estimate keeps hidden objects in a working memory.",
        statistic="agreement of colours minus chance, and the own colour lost",
        estimate=0.02,
        interval=(-0.02, 0.05),
        seeds=8,
        instances=96,
        null=0.0,
        direction="greater",
        smallest=0.5,
        checks=(Check("gate", "entrant: solved", 0.004, 0.6, 0.97),),
        contrasts=(Contrast("agreement", 0.02, (-0.02, 0.06), 0.3), Contrast("own colour lost", 0.03, None, 0.1)),
    ),
)


def page(cases: int = 6, **fields) -> html.Page:
    steps = np.arange(20)
    propagation = np.where(
        steps[None] >= steps[:, None], np.exp(-(steps[None] - steps[:, None]) / (25 - steps[:, None])), np.nan
    )
    probe = 0.5 + 0.5 * np.exp(-((np.arange(6)[:, None] - 3 - steps[None] / 10) ** 2) / 4)
    values = dict(
        title="Chain of steps",
        subtitle="A small video model, watched while it solves mazes",
        intro=INTRO,
        scrubbers=[html.Scrubber([case(i) for i in range(cases)])],
        claims=CLAIMS,
        curves=curves(),
        forests=[forest()],
        maps=[
            html.HeatMap(
                "How far a disturbance travels",
                propagation,
                "Row: the step replaced by noise. Colour: how unlike the clean run it is later (1 − CKA).",
                "later step",
                "disturbed step",
                step_axis="x",
                value_range=(0, 1),
            ),
            html.HeatMap(
                "Next cell, read from the layers",
                probe - 0.6,
                "Balanced accuracy of a linear probe minus that of the best input-only probe.",
                "denoising step",
                "block",
                step_axis="x",
                center=0.0,
            ),
        ],
        tables=[
            html.Table(
                "Commitment",
                ["world", "n", "median step", "wrong to right", "right to wrong", "verdict"],
                [["maze", 400, 3, 0.164, 0.023, "reproduced"], ["tic-tac-toe", 400, 2, 0.09, 0.05, "inconclusive"]],
                "Counted after the first non-trivial reading.",
            )
        ],
        notes=[
            "Layers and steps were chosen on the validation split.",
            "One training seed; intervals do not include its variance.",
        ],
        config={"steps": 20, "shift": 5.0, "worlds": {"maze": 0.5, "ball": 0.5}},
    )
    return html.Page(**{**values, **fields})


REST = np.array(
    [
        *((0, 0, 0.93), (0.09, 0, 0.88), (-0.09, 0, 0.88), (0, -0.02, 1.04), (0.1, 0.02, 0.48), (-0.1, 0.02, 0.48)),
        *((0, 0, 1.17), (0.1, -0.02, 0.07), (-0.1, -0.02, 0.07), (0, 0.01, 1.25), (0.11, 0.1, 0.015)),
        *((-0.11, 0.1, 0.015), (0, 0, 1.45), (0.07, 0, 1.4), (-0.07, 0, 1.4), (0, 0.03, 1.58), (0.18, 0, 1.4)),
        *((-0.18, 0, 1.4), (0.2, -0.02, 1.13), (-0.2, -0.02, 1.13), (0.21, 0.06, 0.88), (-0.21, 0.06, 0.88)),
    ],
    np.float32,
) * np.float32([-1, 1, 1])  # it faces +y: its left hand is at -x
LEFT_LEG, RIGHT_LEG = [4, 7, 10], [5, 8, 11]


def walk(frames: int = 30, heading: float = 0.0, speed: float = 1.0) -> np.ndarray:
    """(frame, 22, 3): a body that moves over the floor while its legs swing and its feet leave the floor in turn."""
    t = np.arange(frames) / 20
    out = np.repeat(REST[None], frames, 0).copy()
    for legs, phase in ((LEFT_LEG, 0.0), (RIGHT_LEG, np.pi)):
        swing = np.sin(2 * np.pi * t + phase)
        out[:, legs, 1] += 0.25 * swing[:, None] * np.array([0.5, 1, 1])
        out[:, legs, 2] += 0.15 * np.maximum(0, np.cos(2 * np.pi * t + phase))[:, None]
    out[..., 0] += speed * t[:, None] * np.sin(heading)
    out[..., 1] += speed * t[:, None] * np.cos(heading)
    return out


def body(seed: int = 0, *, seeds: int = 3, steps: int = 8, frames: int = 30, **fields) -> html.Body:
    """A run whose guesses shake less with every step; each seed walks in a direction of its own."""
    rng = np.random.default_rng(seed)
    u = np.linspace(1, 0, steps + 1)
    sigma = (5 * u / (1 + 4 * u))[:steps]
    clean = np.stack([walk(frames, 0.35 * (i - 1)) for i in range(seeds)])
    shake = rng.normal(size=(seeds, steps, frames, 22, 3)) * 0.12 * (sigma - sigma[-1])[:, None, None, None]
    values = dict(
        name=f"Walk {seed}",
        prompt="a person walks ahead at a calm pace",
        joints=np.asarray(clean[:, None] + shake),
        truth=walk(frames),
        sigma=sigma,
        guesses=[[guess_at(s, i, steps, s != 1) for i in range(steps)] for s in range(seeds)],
        other="another way",
        world="motion",
        events=(html.Event(round(steps * 0.4), "the verb is settled"),),
        maps=[html.LayerMap("Token energy per block", rng.random((seeds, steps, 4, frames)), relative="row")],
        curves=[
            html.Curve("Distance from the truth", [html.Series("this run", rng.random((seeds, steps)))], y_label="m")
        ],
    )
    return html.Body(**{**values, **fields})

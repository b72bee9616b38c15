"""`vrjax sample motion "..."`: motions from a text, with every denoising step in a page, as BVH and as arrays."""

import argparse
import contextlib
import dataclasses
import pathlib
from typing import Any, NamedTuple

from vrjax.cli.common import model_folder

STEPS, GUIDANCE, PATH = 20, 2.0, "position"
_MADE = ("trajectory.npz", "seed-*.npy", "seed-*.bvh", "results.json", "report.html")


class Asked(NamedTuple):
    """How motions are sampled: rows of text to begin with, frames, and the grid of noise levels."""

    model: Any
    text: Any
    frames: int
    grid: Any
    unknown: list[str]


def run(args: argparse.Namespace) -> None:
    """Samples motions of one text, in a folder that is this run's alone."""
    with contextlib.ExitStack() as held:
        _run(args, held)


def _run(args: argparse.Namespace, held: contextlib.ExitStack) -> None:
    import numpy as np

    from vrjax import files
    from vrjax.files import kept, writing
    from vrjax.models.embedded import shipped
    from vrjax.motion import rep276
    from vrjax.motion.program import scale
    from vrjax.report import bodies, claims, html

    if args.guidance is not None and len(args.guidance) != 1:
        raise ValueError(f"--guidance: {len(args.guidance)} numbers, expected one")
    guidance = GUIDANCE if args.guidance is None else args.guidance[0]
    seeds = [0, 1, 2, 3] if args.noise is None else args.noise
    way = args.path or PATH
    path = model_folder(args.model or pathlib.Path(shipped.of_motions()), download=args.download)
    asked = ask(path, args.text, args.steps or STEPS, args.shift)
    if asked.unknown:
        print(f"words that the training has not seen: {', '.join(asked.unknown)}")
    made = {"text": args.text, "noise": seeds, "steps": len(asked.grid.times), "guidance": guidance}
    about = {**made, "sigmas": asked.grid.sigmas.tolist(), "weights": files.fingerprint(path)}
    out = args.out or pathlib.Path("runs") / f"sample-motion-{writing.slug(args.text)[:40].strip('_') or 'motion'}"
    config, free = {"model": path.name, **about, "path": way}, ["path"]  # which is read from what is kept
    held.enter_context(writing.Run(out, config, kind="sample motion", fresh=args.fresh, made=_MADE, may_change=free))

    def sampled() -> dict[str, np.ndarray]:
        print(f"{path}: {made['steps']} steps from {len(seeds)} noise seeds, {asked.frames} frames")
        return {"sigma": asked.grid.sigmas, "time": asked.grid.times, **sample(asked, seeds, guidance)}

    code = kept.source("vrjax.cli.sample_motion")
    trajectory = kept.arrays(out / "trajectory.npz", {**about, "code": code}, sampled)
    rows = np.asarray(rep276.denormalise(smoothed(trajectory["x0"]), scale.load()))
    bodies.write(out, rows[:, -1], [f"seed-{seed}" for seed in seeds], path=way)
    labels, sigma = [f"noise {seed}" for seed in seeds], asked.grid.sigmas[:-1]
    body = bodies.of_rows(args.text, args.text, rows, path=way, sigma=sigma, seeds=labels, world="motion")
    shows = told(body.joints)
    body = dataclasses.replace(body, outcomes=[row[-1] for row in shows], events=changes(shows))
    details = {"model": str(path), **made, "path": way, "shows": [row[-1] for row in shows]}
    claims.write(out / "results.json", [], details={"kind": "sample", **details})
    html.write(out, html.Page("vrjax sample motion", scrubbers=[html.Scrubber([body])], config=details))
    for label, row in zip(labels, shows, strict=True):
        print(f"{label}: {row[-1]}")
    print(f"{len(seeds)} motions as .npy and .bvh; {out / 'report.html'}")


def ask(path: pathlib.Path, text: str, steps: int, shift: float | None) -> Asked:
    """What is sampled of a model in a folder that `vrjax train` has exported.

    Raises:
        FileNotFoundError, ValueError: no such model, it was not trained on procedural motions, or a text that is empty
            or too long for it.
    """
    from vrjax.files import tensors
    from vrjax.flow import grids
    from vrjax.models import motion as motion_models
    from vrjax.models.embedded import captions, conditions
    from vrjax.motion import program

    file = path / "training.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected a model that vrjax train has exported")
    try:  # only what is asked of it: configs of older trainings lack fields, and have others
        config = tensors.read_json(file)["config"]
        frames, trained = int(config["data"]["motions"]["rows"]), float(config["objective"]["shift"])
    except (KeyError, TypeError):
        raise ValueError(f"{file}: expected a training on procedural motions, data.motions") from None
    words = conditions.tokenize(text)
    if not words:
        raise ValueError("sample: the text of a motion is empty")
    model = motion_models.load_dit(path)
    if model.cfg.mode == "motion":
        raise ValueError(f"{path}: a model that is not told by text")
    known = set(program.vocabulary())
    grid = grids.vimogen(steps, trained if shift is None else shift)
    rows = captions.rows(text, model.cfg.text_len, model.cfg.text_dim)
    return Asked(model, rows, frames, grid, sorted({word for word in words if word not in known}))


def sample(asked: Asked, seeds: list[int], guidance: float) -> dict[str, Any]:
    """Every step of motions from some seeds: "x" (seed, steps + 1, frame, 276), "v" and "x0" (seed, steps, frame, 276),
    normalised; one seed after the other, so that they do not depend on each other."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from vrjax import flow
    from vrjax.flow import draws

    shape = (asked.frames, asked.model.cfg.channels)
    noise = jnp.stack([draws.normal(draws.key(seed), shape) for seed in seeds])

    @jax.jit
    def runs(model: Any, text: Any, noise: Any) -> dict[str, Any]:
        velocity = model.guided(text, jnp.zeros_like(text), guidance, mode="text")

        def one(start: Any) -> dict[str, Any]:
            found = flow.sample(velocity, start, asked.grid)
            return {"x": found.x, "v": found.v, "x0": found.x0}

        return jax.lax.map(one, noise)

    return {name: np.asarray(value) for name, value in runs(asked.model, jnp.asarray(asked.text), noise).items()}


def smoothed(x0: Any) -> Any:
    """Guesses (seed, step, frame, 276) as ViMoGen smooths what it generated, over time."""
    import jax

    from vrjax.motion import smoothing

    return jax.jit(jax.vmap(jax.vmap(smoothing.smooth)))(x0)


def told(joints: Any) -> list[list[str]]:
    """What guesses (seed, step, frame, 22, 3) show by the exact rules of `program.predicates`, in words."""
    import jax
    import numpy as np

    from vrjax.motion.program import predicates

    seen = jax.tree.map(np.asarray, jax.jit(jax.vmap(jax.vmap(predicates.recognise)))(joints))
    of = lambda seed, step: predicates.words(jax.tree.map(lambda found: found[seed, step], seen))
    return [[of(seed, step) for step in range(joints.shape[1])] for seed in range(joints.shape[0])]


def changes(shows: list[list[str]]) -> list[Any]:
    """Events of the page: the steps at which a seed's guess begins to show something else."""
    from vrjax.report import html

    return [
        html.Event(step, f"shows {row[step]}", seed)
        for seed, row in enumerate(shows)
        for step in range(1, len(row))
        if row[step] != row[step - 1]
    ]

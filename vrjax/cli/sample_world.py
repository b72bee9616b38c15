"""`vrjax sample WORLD`: videos of one clip of a world from several noise seeds, with every denoising step."""

import argparse
import contextlib
import pathlib
import re

from vrjax.cli.common import model_folder

_MADE = ("trajectory.npz", "noise-*.mp4", "results.json", "report.html")


def run(args: argparse.Namespace) -> None:
    """Samples one clip of a world, in a folder that is this run's alone."""
    with contextlib.ExitStack() as held:
        _run(args, held)


def _run(args: argparse.Namespace, held: contextlib.ExitStack) -> None:
    import numpy as np

    from vrjax import files, tasks
    from vrjax.data import mp4
    from vrjax.files import kept, writing
    from vrjax.models.pipeline import EmbeddedPipeline
    from vrjax.report import claims, guesses, html

    world, split, number = tasks.get(args.world), args.split or "test", args.clip or 0
    seeds = [0, 1, 2, 3] if args.noise is None else args.noise
    clip = world.make(number, split=split)
    path = model_folder(args.model, world.name, download=args.download)
    pipe = EmbeddedPipeline(path)
    options = {"steps": args.steps, "shift": args.shift, "frames": len(clip.video)}
    settings = pipe.settings(picture=clip.first_frame.shape[:2], **options)
    grid = settings.recipe.grid
    made = {"world": args.world, "split": split, "clip": number, "noise": seeds}
    made |= {"steps": settings.steps, "shift": settings.shift}
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", pipe.name)
    out = args.out or pathlib.Path("runs") / f"sample-{args.world}-{split}-{number}-{name}"
    about = {**made, "weights": files.fingerprint(path)}
    config = {"model": name, **about, "noise_of": pipe.about["noise"]}
    held.enter_context(writing.Run(out, config, kind="sample world", fresh=args.fresh, made=_MADE))

    def sampled() -> dict[str, np.ndarray]:
        print(f"{path}: {settings.steps} steps from {len(seeds)} noise seeds")
        found = pipe.sample(clip, seeds=seeds, **options)
        fields = {name: np.asarray(getattr(found, name)) for name in ("x", "v", "x0", "final")}
        return {"sigma": grid.sigmas, "time": grid.times, "truth": pipe.folder.codec.encode(clip.video), **fields}

    code = kept.source("vrjax.models.pipeline")
    trajectory = kept.arrays(out / "trajectory.npz", {**about, "code": code}, sampled)
    finals = pipe.decode(trajectory["final"])
    scores = [world.score(clip, final) for final in finals]
    solved = [bool(world.solved(clip, final)) for final in finals]
    for seed, final in zip(seeds, finals, strict=True):
        mp4.write(out / f"noise-{seed}.mp4", final, fps=settings.fps, upscale=4, codec=mp4.PLAYED)
    estimates = pipe.decode(trajectory["x0"])
    case = html.Case(
        f"{args.world} {split} {number}",
        clip.prompt,
        estimates,
        truth=clip.video,
        noisy=pipe.decode(trajectory["x"][:, :-1]),
        sigma=grid.sigmas[:-1],
        seeds=[f"noise {seed}" for seed in seeds],
        solved=solved,
        guesses=guesses.judged(world, clip, estimates),
        outcomes=[f"{'solved' if s else 'not solved'}, score {v:.2f}" for s, v in zip(solved, scores, strict=True)],
        world=args.world,
        other="other path" if args.world.startswith("maze") else "another answer",
    )
    details = {"model": str(path), **made, "solved": solved, "score": scores}
    claims.write(out / "results.json", [], details={"kind": "sample", **details})
    html.write(out, html.Page(f"vrjax sample {args.world}", scrubbers=[html.Scrubber([case])], config=details))
    print(f"{sum(solved)} of {len(solved)} solved ({clip.prompt}); {out / 'report.html'}")

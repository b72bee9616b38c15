"""`vrjax sample WORLD`: videos of one clip of a world from several noise seeds, with every denoising step."""

import argparse
import pathlib

from vrjax.cli.common import model_folder, save_npz, training_of

STEPS, SHIFT = 20, 3.0


def run(args: argparse.Namespace) -> None:
    """Samples one clip of a world."""
    import jax
    import numpy as np

    from vrjax import flow, tasks
    from vrjax.data import worlds
    from vrjax.models import wan
    from vrjax.models.embedded import codec
    from vrjax.report import claims, html, video

    steps, shift = args.steps or STEPS, SHIFT if args.shift is None else args.shift
    split, number = args.split or "test", args.clip or 0
    noise = [0, 1, 2, 3] if args.noise is None else args.noise
    clip = tasks.get(args.world).make(number, split=split)
    path = model_folder(args.model)
    dit, trained = wan.load_dit(path), training_of(path)
    factor = trained.get("data", {}).get("codec_factor", 4)
    given = worlds.example(clip, codec_factor=factor, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim)
    grid = flow.grids.shifted(steps, shift=shift)

    @jax.jit
    def run(dit, keys):
        velocity = dit.velocity(given["text"], image=given["image"])
        one = lambda key: flow.sample(velocity, jax.random.normal(key, given["latent"].shape), grid)
        return jax.vmap(one)(keys)

    keys = jax.vmap(jax.random.key)(np.array(noise))
    print(f"{path}: {steps} steps from {len(noise)} noise seeds")
    trajectory = jax.device_get(run(dit, keys))
    decode = lambda z: np.asarray(codec.blocks(factor).decode(z))
    finals, world = decode(trajectory.final), tasks.get(args.world)
    scores = [world.score(clip, final) for final in finals]
    solved = [bool(world.solved(clip, final)) for final in finals]

    out = args.out or pathlib.Path("runs") / f"sample-{args.world}-{split}-{number}"
    out.mkdir(parents=True, exist_ok=True)
    kept = {name: getattr(trajectory, name) for name in ("x", "v", "x0", "final")}
    save_npz(out / "trajectory.npz", sigma=grid.sigmas, time=grid.times, truth=given["latent"], **kept)
    for seed, final in zip(noise, finals, strict=True):
        video.save(out / f"noise-{seed}.mp4", final, fps=4, scale=4)
    case = html.Case(
        f"{args.world} {split} {number}",
        clip.prompt,
        decode(trajectory.x0),
        truth=clip.video,
        noisy=decode(trajectory.x[:, :-1]),
        sigma=grid.sigmas[:-1],
        seeds=[f"noise {seed}" for seed in noise],
        scores=scores,
        world=args.world,
    )
    made = {"model": str(path), "world": args.world, "split": split, "clip": number, "noise": noise}
    details = {**made, "steps": steps, "shift": shift, "solved": solved, "score": scores}
    claims.write(out / "results.json", [], details={"kind": "sample", **details})
    html.write(out, html.Page(f"vrjax sample {args.world}", scrubbers=[html.Scrubber([case])], config=details))
    print(f"{sum(solved)} of {len(solved)} solved ({clip.prompt}); {out / 'report.html'}")

"""`vrjax sample`: videos of one clip of a world, with every denoising step."""

import argparse
import pathlib

from vrjax.cli.common import model_folder, numbers, positive, save_npz, training_of

NAME, SUMMARY = "sample", "videos of one clip, with every denoising step"
TEXT = """\
Samples the videos of one clip of a world from several noise seeds, keeps every denoising step, and writes a run folder:
report.html (scrub step x frame x seed), trajectory.npz (sigma, time, x, v, x0 in latents), one .mp4 per seed,
results.json with the verifier's scores.

examples:
  vrjax sample maze                                   the shipped model, test clip 0, 4 noise seeds
  vrjax sample maze --clip 7 --noise 0-7 --steps 50
  vrjax sample pick --model runs/worlds/model --out runs/look
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("world", help="its name: maze, tictactoe, ...")
    sub.add_argument("--model", type=pathlib.Path, help="model folder (the shipped one)")
    sub.add_argument("--split", default="test", help="split of the clip (test)")
    sub.add_argument("--clip", type=int, default=0, help="number of the clip in its split (0)")
    sub.add_argument("--noise", type=numbers, default=[0, 1, 2, 3], help="noise seeds (0-3)")
    sub.add_argument("--steps", type=positive, default=20, help="Euler steps (20)")
    sub.add_argument("--shift", type=float, default=3.0, help="shift of the noise grid (3)")
    sub.add_argument("--out", type=pathlib.Path, help="run folder (runs/sample-WORLD-SPLIT-CLIP)")


def run(args: argparse.Namespace) -> None:
    import jax
    import numpy as np

    from vrjax import flow, tasks
    from vrjax.data import worlds
    from vrjax.models import codec, wan
    from vrjax.report import claims, html, video

    clip = tasks.get(args.world).make(args.clip, split=args.split)
    path = model_folder(args.model)
    dit, trained = wan.load_dit(path), training_of(path)
    factor = trained.get("data", {}).get("codec_factor", 4)
    given = worlds.example(clip, codec_factor=factor, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim)
    grid = flow.grids.shifted(args.steps, shift=args.shift)

    @jax.jit
    def run(dit, keys):
        velocity = dit.velocity(given["text"], image=given["image"])
        one = lambda key: flow.sample(velocity, jax.random.normal(key, given["latent"].shape), grid)
        return jax.vmap(one)(keys)

    keys = jax.vmap(jax.random.key)(np.array(args.noise))
    print(f"{path}: {args.steps} steps from {len(args.noise)} noise seeds")
    trajectory = jax.device_get(run(dit, keys))
    decode = lambda z: np.asarray(codec.blocks(factor).decode(z))
    finals, world = decode(trajectory.final), tasks.get(args.world)
    scores = [world.score(clip, final) for final in finals]
    solved = [bool(world.solved(clip, final)) for final in finals]

    out = args.out or pathlib.Path("runs") / f"sample-{args.world}-{args.split}-{args.clip}"
    out.mkdir(parents=True, exist_ok=True)
    kept = {name: getattr(trajectory, name) for name in ("x", "v", "x0", "final")}
    save_npz(out / "trajectory.npz", sigma=grid.sigmas, time=grid.times, truth=given["latent"], **kept)
    for seed, final in zip(args.noise, finals, strict=True):
        video.save(out / f"noise-{seed}.mp4", final, fps=4, scale=4)
    case = html.Case(
        f"{args.world} {args.split} {args.clip}",
        clip.prompt,
        decode(trajectory.x0),
        truth=clip.video,
        noisy=decode(trajectory.x[:, :-1]),
        sigma=grid.sigmas[:-1],
        seeds=[f"noise {seed}" for seed in args.noise],
        scores=scores,
        world=args.world,
    )
    made = {"model": str(path), "world": args.world, "split": args.split, "clip": args.clip, "noise": args.noise}
    details = {**made, "steps": args.steps, "shift": args.shift, "solved": solved, "score": scores}
    claims.write(out / "results.json", [], details={"kind": "sample", **details})
    html.write(out, html.Page(f"vrjax sample {args.world}", scrubbers=[html.Scrubber([case])], config=details))
    print(f"{sum(solved)} of {len(solved)} solved ({clip.prompt}); {out / 'report.html'}")

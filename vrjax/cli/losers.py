"""`vrjax losers`: a public model's own samples beside real clips, encoded for preference training."""

import argparse
import pathlib

from vrjax.cli.common import SAMPLING, add_encoding, offered

NAME, SUMMARY = "losers", "samples beside real clips, for preference training"
TEXT = """\
RealDPO's offline part with a public Wan model: for every real clip of a folder in RealDPO's layout (prompt.txt,
video.txt, videos/) it samples losers into negative_samples/, then encodes winners and losers with the model's own VAE,
text encoder and picture condition. The same command goes on with an interrupted one. `vrjax align` trains on them.

examples:
  vrjax losers train_data --model Wan2.1-T2V-1.3B --count 3 --frames 49 --size 480x832 --pairs realdpo_pairs
  vrjax losers train_data --model Wan2.1-T2V-1.3B --count 0 --frames 49 --size 480x832 --pairs realdpo_pairs
  vrjax align configs/realdpo/wan.py --start Wan2.1-T2V-1.3B/transformer --pairs realdpo_pairs
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("root", type=pathlib.Path, help="folder in RealDPO's layout")
    sub.add_argument("--pairs", type=pathlib.Path, help="where encoded pairs go (nothing is encoded without it)")
    sub.add_argument(
        "--count", type=int, default=3, help="losers of each clip; 0 only encodes those that are there (3)"
    )
    add_encoding(sub, frames=49, pixels=(480, 832))
    for flag in ("--steps", "--guidance"):
        sub.add_argument(flag, **SAMPLING[flag])
    sub.add_argument("--seed", type=int, default=0, help="of the losers' noise (0)")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax.align import public
    from vrjax.models import pipeline

    if args.count < 0:
        raise ValueError(f"--count must not be negative, found {args.count}")
    pipe = pipeline.open(args.model, download=offered(args.download))
    shape = {"frames": args.frames, "size": args.size}
    if args.count:
        options = shape | {"steps": args.steps, "guidance": args.guidance}
        made = public.sample_losers(pipe, args.root, count=args.count, seed=args.seed, **options)
        print(f"{made} losers sampled in {args.root / 'negative_samples'}, the others were there")
    if args.pairs is not None:
        print(public.encode(pipe, args.root, args.pairs, losers=args.count or None, dtype=args.dtype, **shape))

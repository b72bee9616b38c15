"""`vrjax encode`: clips of a VBVR folder as a model's latents and text rows, for training."""

import argparse
import pathlib

NAME, SUMMARY = "encode", "clips as latents and text rows, for training"
TEXT = """\
Encodes the samples of a VBVR folder (DataFactory or benchmark tree) with a public Wan model's own VAE, text encoder and
picture conditions. Arrays are stored under the hash of what they depend on; the same command goes on with an
interrupted encoding, and encodes nothing twice. Training reads the folder: `--data.cache FOLDER`.

examples:
  vrjax encode VBVR/questions vbvr-cache --model Wan2.2-I2V-A14B --size 384x384 --frames 81
  vrjax train configs/vbvr/lora.py --data.cache vbvr-cache --start Wan2.2-I2V-A14B/high_noise_model
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from vrjax.cli.common import positive
    from vrjax.cli.sample import size

    sub.add_argument(
        "root", type=pathlib.Path, help="tree of samples with first_frame.png, prompt.txt, ground_truth.mp4"
    )
    sub.add_argument("folder", type=pathlib.Path, help="where encoded clips go")
    sub.add_argument("--model", type=pathlib.Path, required=True, help="model folder")
    sub.add_argument("--frames", type=positive, default=81, help="of every clip, 4 n + 1 (81)")
    sub.add_argument("--size", type=size, default=(384, 384), metavar="HxW", help="pixels (384x384)")
    sub.add_argument("--dtype", default="bfloat16", help="of stored arrays: bfloat16, float16, float32 (bfloat16)")
    sub.add_argument("--limit", type=positive, help="at most so many samples")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax.data import latents
    from vrjax.models import pipeline

    pipe = pipeline.open(args.model)
    options = {"frames": args.frames, "size": args.size, "dtype": args.dtype, "limit": args.limit}
    print(latents.encode(pipe, args.root, args.folder, **options))

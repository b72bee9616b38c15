"""`vrjax encode`: clips of a VBVR folder as a model's latents and text rows, for training."""

import argparse
import pathlib

from vrjax.cli.common import add_encoding, offered, positive

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
    sub.add_argument(
        "root", type=pathlib.Path, help="tree of samples with first_frame.png, prompt.txt, ground_truth.mp4"
    )
    sub.add_argument("folder", type=pathlib.Path, help="where encoded clips go")
    add_encoding(sub, frames=81, pixels=(384, 384))
    sub.add_argument("--limit", type=positive, help="at most so many samples")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax.data import latents
    from vrjax.models import pipeline

    pipe = pipeline.open(args.model, download=offered(args.download))
    options = {"frames": args.frames, "size": args.size, "dtype": args.dtype, "limit": args.limit}
    print(latents.encode(pipe, args.root, args.folder, **options))

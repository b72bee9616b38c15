"""`vrjax convert`: weights from one public layout to another."""

import argparse
import pathlib

NAME, SUMMARY = "convert", "weights from one public layout to another"
TEXT = """\
Rewrites public Wan weights in another layout: the same bits under other names, one tensor in memory at a time. SRC is a
whole model folder (diffusers' or Wan's own), or one network: a transformer, VAE, UMT5 or CLIP as a folder, a
safetensors file, an index or a .pth. What a file holds is told by its keys. No code in a .pth file is run.

layouts:
  diffusers   a folder per network with config.json; large networks in several files with an index
  wan         the names of Wan's repositories; VAE and encoders as .pth (torch reads them, also with weights_only)
  comfy       single safetensors files; the transformer's keys begin with model.diffusion_model.

DST must not be there yet (an empty folder may); it appears complete or not at all.

examples:
  vrjax convert Wan2.2-I2V-A14B Wan2.2-I2V-A14B-Diffusers --layout diffusers
  vrjax convert runs/worlds/model worlds-original --layout wan
  vrjax convert model/transformer wan_1.3b.safetensors --layout comfy
  vrjax convert Wan2.1_VAE.pth vae --layout diffusers
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("source", type=pathlib.Path, metavar="SRC", help="model folder, or a network's folder or file")
    sub.add_argument(
        "target", type=pathlib.Path, metavar="DST", help="new folder, or a name ending in .safetensors, .pth"
    )
    sub.add_argument("--layout", required=True, choices=("diffusers", "wan", "comfy"), help="of DST")
    sub.add_argument(
        "--shard-gb", type=float, default=5.0, help="most gigabytes of one file of a network in several files (5)"
    )
    sub.add_argument("--heads", type=int, help="attention heads, where a lone file does not tell them")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax.models.wan import convert, convert_model

    if not args.shard_gb > 0:
        raise ValueError(f"--shard-gb {args.shard_gb}: expected a positive number")
    shard = max(1, int(args.shard_gb * 10**9))
    if convert_model.is_model(args.source):
        if args.target.suffix in (".safetensors", ".pth"):
            raise ValueError(f"{args.target}: a whole model needs a folder, not one file")
        convert_model.model(args.source, args.target, layout=args.layout, shard=shard)
    else:
        options = {} if args.heads is None else {"heads": args.heads}
        convert.part(args.source, args.target, layout=args.layout, shard=shard, **options)

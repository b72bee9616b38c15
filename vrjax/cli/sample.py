"""`vrjax sample`: videos from a prompt with a public model, or of one clip of a world, with chosen denoising steps."""

import argparse
import pathlib

from vrjax.cli.common import numbers, positive, size

NAME, SUMMARY = "sample", "videos from a prompt or of a world's clip, with their denoising steps"
TEXT = """\
With --prompt: samples a public Wan model (Wan 2.1 and 2.2: text to video, image to video, first and last frame, TI2V;
diffusers' or Wan's own folder); writes a run folder: seed-N.mp4, trajectory/seed-N/ (chosen steps and fields as .npy,
written while the run goes on), x0/seed-N/step-S.mp4 (what the model believed at that step), report.html, config.json.
What is not given is as the model's authors publish it. The same command goes on with an interrupted run.

With the name of a world: one clip of it from several noise seeds with an embedded model. Every step is kept:
report.html, trajectory.npz (sigma, time, x, v, x0 in latents), one .mp4 per seed, results.json with the scores.

examples:
  vrjax sample --model Wan2.1-T2V-1.3B --prompt "a cat on the moon" --out runs/cat
  vrjax sample --model Wan2.2-I2V-A14B --prompt "the ball rolls to the exit" --image maze.png --size 480x832 --seeds 4
  vrjax sample --model Wan2.2-I2V-A14B --prompt "..." --image a.png --lora high=vbvr_high.safetensors \\
               --lora low=vbvr_low.safetensors:0.8 --record 0-9,19,39 --record-fields x0 v
  vrjax sample --model Wan2.1-T2V-14B --prompt "..." --lora lightx2v.safetensors --preset lightx2v
  vrjax sample --model Wan2.1-T2V-14B --prompt "..." --steps-list 1000,750,500,250 --shift 5 --guidance 1
  vrjax sample maze                                   the shipped model, test clip 0, 4 noise seeds
  vrjax sample maze --clip 7 --noise 0-7 --steps 50
  vrjax sample pick --model runs/worlds/model --out runs/look

few-step models: those that see the whole clip at once are covered (LightX2V's and Wan2.2-Lightning's 4 steps, as LoRA
or as weights). Self-Forcing, CausVid and others that make a clip block by block from a cache are not.
"""

_WORLD = ("split", "clip", "noise")
_PROMPT = (
    *("image", "last_image", "negative", "size", "frames", "fps", "solver", "grid", "guidance", "steps_list", "preset"),
    *("seed", "seeds", "together", "lora", "record", "record_fields", "dtype", "fresh", "no_cache", "mesh"),
)


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments. Those of the other mode must be left out, so that none is ignored."""
    sub.add_argument("world", nargs="?", help="name of a world (maze, tictactoe, ...), where there is no --prompt")
    sub.add_argument("--model", type=pathlib.Path, help="model folder (for a world: the shipped one)")
    sub.add_argument("--steps", type=positive, help="steps (the model's; for a world 20)")
    sub.add_argument("--shift", type=float, help="shift of the noise grid (the model's; for a world 3)")
    sub.add_argument("--out", type=pathlib.Path, help="run folder (runs/sample-...)")

    group = sub.add_argument_group("from a prompt")
    group.add_argument("--prompt", help="what the video shows")
    group.add_argument("--image", type=pathlib.Path, help="picture of the first frame")
    group.add_argument("--last-image", type=pathlib.Path, help="picture of the last frame")
    group.add_argument("--negative", help="the negative prompt (the model's)")
    group.add_argument(
        "--size", type=size, metavar="HxW", help="pixels, such as 480x832 (the model's, or the picture's aspect)"
    )
    group.add_argument("--frames", type=positive, help="4 n + 1 (81; TI2V: 121)")
    group.add_argument("--fps", type=positive, help="of the video file (16; TI2V: 24)")
    group.add_argument("--solver", help="unipc, euler, heun, dpmpp_2m, ab2, sde (the model's)")
    group.add_argument("--grid", help="noise grid: wan_unipc, wan_dpmpp, diffusers_unipc, diffusers_euler, shifted")
    group.add_argument("--guidance", type=floats, help="scale, or HIGH,LOW of two experts; 1: none (the model's)")
    group.add_argument("--steps-list", type=floats, metavar="T,T,...", help="times of a distilled model, before shift")
    group.add_argument("--preset", help="of a distilled model: lightx2v")
    group.add_argument("--seeds", type=positive, metavar="K", help="how many videos (1)")
    group.add_argument("--seed", type=int, help="noise seed of the first (0)")
    group.add_argument(
        "--together", type=positive, metavar="N", help="seeds computed at the same time (1, or those of --mesh seed N)"
    )
    group.add_argument(
        "--lora", action="append", type=lora, metavar="[high=|low=]FILE[:WEIGHT]", help="merge; repeatable"
    )
    group.add_argument("--record", metavar="STEPS", help="all, none, or such as 0-9,49 (8 spread over the run)")
    group.add_argument("--record-fields", nargs="+", metavar="FIELD", help="of x, v, x0, next (x0)")
    group.add_argument("--dtype", help="float32, bfloat16 (bfloat16; on CPU float32)")
    group.add_argument(
        "--mesh", nargs="+", metavar=("AXIS", "N"), help="divide the transformers over devices: fsdp 4 context 2 (one)"
    )
    group.add_argument("--no-cache", action="store_true", default=None, help="encode the prompt anew")
    group.add_argument("--fresh", action="store_true", default=None, help="forget an earlier run in this folder")

    group = sub.add_argument_group("of a world")
    group.add_argument("--split", help="split of the clip (test)")
    group.add_argument("--clip", type=int, help="number of the clip in its split (0)")
    group.add_argument("--noise", type=numbers, help="noise seeds (0-3)")


def run(args: argparse.Namespace) -> None:
    """Hands over to the mode that is meant."""
    world = args.world is not None
    if world == (args.prompt is not None):
        raise ValueError("sample: give either --prompt (with --model) or the name of a world")
    other = [name for name in (_PROMPT if world else _WORLD) if getattr(args, name) is not None]
    if other:
        flags = ", ".join("--" + name.replace("_", "-") for name in other)
        raise ValueError(f"sample: {flags} cannot be used with {'a world' if world else '--prompt'}")
    if world:
        from vrjax.cli import sample_world as mode
    else:
        from vrjax.cli import sample_prompt as mode
    mode.run(args)


def floats(text: str) -> list[float]:
    """`5` or `4,3`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers such as 5 or 4,3") from None


def lora(text: str) -> tuple[str, float, str | None]:
    """`FILE`, `FILE:0.8`, `high=FILE:0.8`: path, weight, and the expert if it is named."""
    expert, mark, rest = text.partition("=")
    if not mark or expert not in ("high", "low", "both"):
        expert, rest = "", text
    path, _, weight = rest.rpartition(":")
    try:
        return (path, float(weight), expert or None) if path else (rest, 1.0, expert or None)
    except ValueError:
        return rest, 1.0, expert or None  # a colon in the file's name

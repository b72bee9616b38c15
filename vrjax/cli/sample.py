"""`vrjax sample`: videos from a prompt with a public model, or of one clip of a world, with chosen denoising steps."""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from vrjax.cli.common import (
    NETWORKS,
    SAMPLING,
    SETTINGS,
    add_model,
    axes,
    cores_for,
    floats,
    numbers,
    offered,
    positive,
)

NAME, SUMMARY = "sample", "videos or motions from a prompt or of a world's clip, with their denoising steps"
TEXT = """\
With --prompt: samples a public Wan model (Wan 2.1 and 2.2: text to video, image to video, first and last frame, TI2V;
diffusers' or Wan's own folder); writes a run folder: seed-N.mp4, trajectory/seed-N/ (chosen steps and fields as .npy,
written while the run goes on), x0/seed-N/step-S.mp4 (what the model believed at that step), report.html, config.json.
What is not given is as the model's authors publish it. The same command goes on with an interrupted run, from the
last step that it kept, to the same video bit for bit; finished videos are written first, those of the steps after.

With the name of a world: one clip of it from several noise seeds with an embedded model. Every step is kept:
report.html, trajectory.npz (sigma, time, x, v, x0 in latents), one .mp4 per seed, results.json with the scores.

With motion and a text: motions of a body from several noise seeds, of a model that was trained on procedural motions.
Every step is kept: report.html shows the bodies in 3-D, trajectory.npz has sigma, time, x, v and x0 as normalised rows,
and for each seed there is the finished motion as seed-N.bvh and, 276 numbers a frame, as seed-N.npy. These numbers say
where joints are, and how they move; where the two contradict each other, --path chooses which the page and .bvh show.

examples:
  vrjax sample --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --download --prompt "a cat on the moon" --out runs/cat
  vrjax sample --model Wan2.2-I2V-A14B --prompt "the ball rolls to the exit" --image maze.png --size 480x832 --seeds 4
  vrjax sample --model Wan2.2-I2V-A14B --prompt "..." --image a.png --lora high=vbvr_high.safetensors \\
               --lora low=vbvr_low.safetensors:0.8 --record 0-9,19,39 --record-fields x0 v
  vrjax sample --model Wan2.1-T2V-14B --prompt "..." --lora lightx2v.safetensors --preset lightx2v
  vrjax sample --model Wan2.2-I2V-A14B --prompt "..." --image a.png --preset lightx2v --lora-without-image \\
               --lora both=lightx2v_I2V_14B_480p_rank64.safetensors
  vrjax sample --model Wan2.1-T2V-14B --prompt "..." --steps-list 1000,750,500,250 --shift 5 --guidance 1
  vrjax sample --model Wan2.1-T2V-1.3B --causal self_forcing_dmd.pt --prompt "..."
  vrjax sample --model Wan2.1-T2V-1.3B --causal causal_forcing.pt --like causal_forcing_framewise --image a.png \
               --prompt "..." --frames 161 --window 21
  vrjax sample maze                                   the shipped model that knows it best, 4 noise seeds
  vrjax sample maze --clip 7 --noise 0-7 --steps 50
  vrjax sample pick --model runs/worlds/model --out runs/look
  vrjax sample motion "a person walks forward while waving the left hand"       the shipped model, 4 noise seeds
  vrjax sample motion "a person squats twice" --model runs/vimogen-small/model --path velocity

few-step models: those that see the whole clip at once (LightX2V's and Wan2.2-Lightning's 4 steps, as LoRA or as
weights), and with --causal those that make a clip chunk by chunk from a cache: Self-Forcing, Causal-Forcing, CausVid.
Their frames are written as they come; live.html in the run folder plays those that are there.
"""

MOTION = "motion"
_BOTH = ("steps", "shift")
_MOTION = ("path",)
_WORLD = ("split", "clip", "noise")
_CAUSAL = ("like", "window", "sink")
_PROMPT = (
    *(name for name in SETTINGS if name not in _BOTH),
    *("image", "last_image", "steps_list", "preset", "seed", "seeds", "together", "lora", "record", "record_fields"),
    *("lora_without_image", "dtype", "no_cache", "mesh", "lossless", "causal"),
    *_CAUSAL,
)

RECORDED = 8  # steps kept where none are named, first and last among them
_MADE = ("seed-*.mp4", "trajectory", "x0", "results.json", "report.html")
_MAY_CHANGE = ("seeds", "mesh")  # a run may go on with more seeds, or elsewhere, equal up to rounding


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments. Those of the other mode must be left out, so that none is ignored."""
    sub.add_argument("world", nargs="?", help="name of a world (maze, tictactoe, ...), or motion; else give --prompt")
    sub.add_argument("text", nargs="?", help="behind motion: what the body does")
    add_model(sub, "model folder, or its id on the Hugging Face hub (for a world: the shipped one that knows it best)")
    sub.add_argument("--steps", type=positive, help="steps (the model's; for a world 20)")
    sub.add_argument("--shift", type=float, help="shift of the noise grid (the model's; for a world 3)")
    sub.add_argument("--out", type=pathlib.Path, help="run folder (runs/sample-...)")
    sub.add_argument("--fresh", action="store_true", help="forget an earlier run in this folder")

    group = sub.add_argument_group("from a prompt")
    group.add_argument("--prompt", help="what the video shows")
    group.add_argument("--image", type=pathlib.Path, help="picture of the first frame")
    group.add_argument("--last-image", type=pathlib.Path, help="picture of the last frame")
    for flag, how in (SAMPLING | NETWORKS).items():
        if flag[2:] not in _BOTH:
            group.add_argument(flag, **how)
    group.add_argument(
        "--lora-without-image",
        action="store_true",
        default=None,
        help="leave out what LoRA files change of image attention that the model does not have; the count is printed",
    )
    group.add_argument("--steps-list", type=floats, metavar="T,T,...", help="times of a distilled model, before shift")
    group.add_argument("--preset", help="of a distilled model: lightx2v")
    group.add_argument("--seeds", type=positive, metavar="K", help="how many videos (1)")
    group.add_argument("--seed", type=int, help="noise seed of the first (0)")
    group.add_argument(
        "--together", type=positive, metavar="N", help="seeds computed at the same time (1, or those of --mesh seed N)"
    )
    group.add_argument("--record", metavar="STEPS", help="all, none, or such as 0-9,49 (8 spread over the run)")
    group.add_argument("--record-fields", nargs="+", metavar="FIELD", help="of x, v, x0, next (x0)")
    group.add_argument(
        "--mesh", nargs="+", metavar=("AXIS", "N"), help="divide the transformers over devices: fsdp 4 context 2 (one)"
    )
    group.add_argument(
        "--lossless", action="store_true", default=None, help="finished videos without loss (H.264, RGB), for rules"
    )
    group.add_argument("--no-cache", action="store_true", default=None, help="encode the prompt anew")

    group = sub.add_argument_group("from a prompt, chunk by chunk")
    group.add_argument("--causal", type=pathlib.Path, metavar="FILE", help="weights of a causal network")
    group.add_argument("--like", metavar="NAME", help="how it was trained to be sampled (self_forcing)")
    group.add_argument("--window", type=positive, metavar="W", help="latent frames that a chunk sees (all)")
    group.add_argument("--sink", type=positive, metavar="S", help="of these, first frames that stay (0)")

    group = sub.add_argument_group("of a world")
    group.add_argument("--split", help="split of the clip (test)")
    group.add_argument("--clip", type=int, help="number of the clip in its split (0)")
    group.add_argument("--noise", type=numbers, help="noise seeds (0-3); of motions, too")

    group = sub.add_argument_group("of a motion")
    group.add_argument(
        "--path",
        choices=("velocity", "position"),
        help="joints from rows: position, where each frame says that they are (default); velocity, the summed ways, as "
        "ViMoGen has it: a small model's drift apart",
    )


def run(args: argparse.Namespace) -> None:
    """Hands over to the mode that is meant."""
    if args.world == MOTION and args.text is not None:
        _refuse(args, [name for name in (*_PROMPT, "prompt", "split", "clip") if name != "guidance"], "motion")
        from vrjax.cli import sample_motion

        sample_motion.run(args)
        return
    if args.text is not None or args.world == MOTION:
        raise ValueError(
            'sample: a text goes with motion, and motion with a text: vrjax sample motion "a person walks"'
        )
    world = args.world is not None
    if world == (args.prompt is not None):
        raise ValueError("sample: give either --prompt (with --model) or the name of a world")
    _refuse(args, (*(_PROMPT if world else _WORLD), *_MOTION), "a world" if world else "--prompt")
    if world:
        from vrjax.cli import sample_world

        sample_world.run(args)
    elif args.causal is not None:
        from vrjax.cli import sample_causal

        _refuse(args, sample_causal.NOT, "--causal")
        sample_causal.run(args)
    else:
        if other := [name for name in _CAUSAL if getattr(args, name) is not None]:
            raise ValueError(f"--{other[0]}: there is no --causal, whose option it is")
        from_prompt(args)


def _refuse(args: argparse.Namespace, names: Sequence[str], mode: str) -> None:
    if other := [name for name in names if getattr(args, name) is not None]:
        flags = ", ".join("--" + name.replace("_", "-") for name in other)
        raise ValueError(f"sample: {flags} cannot be used with {mode}")


def from_prompt(args: argparse.Namespace) -> None:
    """A public model's videos, what it believed on the way, and a report: samples what is not yet there."""
    from vrjax import parallel
    from vrjax.cli import memory, sample_films
    from vrjax.files import writing
    from vrjax.models import pipeline
    from vrjax.models.pipeline.recorder import FIELDS
    from vrjax.models.wan import folders

    if args.model is None:
        raise ValueError("sample: --prompt needs --model, the folder of a public Wan model")
    mesh = axes(args.mesh) if args.mesh else {}
    if mesh:
        cores_for(mesh)
    first = args.seed or 0
    seeds = list(range(first, first + (args.seeds or 1)))
    if not 0 <= first < 2**31 - len(seeds):
        raise ValueError(f"--seed: found {first}, expected 0 to 2**31 less the number of videos")
    fields = tuple(args.record_fields or ("x0",))
    if unknown := [name for name in fields if name not in FIELDS]:
        raise ValueError(f"--record-fields: unknown {', '.join(unknown)}, expected any of {', '.join(FIELDS)}")
    if args.lora_without_image and not args.lora:
        raise ValueError("--lora-without-image: there is no --lora")
    if args.record == "none" and args.record_fields:
        raise ValueError("--record none and --record-fields: give one of them")
    times = args.steps_list
    if args.preset is not None:
        if args.preset not in folders.PRESETS:
            raise ValueError(f"--preset: unknown {args.preset!r}, expected one of {', '.join(folders.PRESETS)}")
        if times is not None:
            raise ValueError("--preset and --steps-list: give one of them")
        times = folders.PRESETS[args.preset]
    pipe = pipeline.open(
        args.model,
        download=offered(args.download),
        dtype=args.dtype,
        loras=[(*given, bool(args.lora_without_image)) for given in args.lora or ()],
        cache=False if args.no_cache else None,
        mesh=parallel.mesh(mesh) if mesh else None,
    )
    asked = {name: getattr(args, name) for name in SETTINGS}
    settings, *pictures = pipe.ask(args.image, args.last_image, times=times, **asked)
    steps, summary = recorded(args.record, settings.steps), _summary(pipe, settings, len(seeds))
    config = _config(args, pipe, settings, seeds, steps, fields) | {"mesh": mesh}
    if args.lossless:
        config["video"] = "lossless"
    out = args.out or pathlib.Path("runs") / f"sample-{pipe.name}-{_slug(args.prompt)}"
    opened = writing.Run(out, config, kind="sample", fresh=args.fresh, may_change=_MAY_CHANGE, made=_MADE)
    with opened:
        for note in opened.notes:
            print(f"{out}: {note}")
        for note in pipe.notes:
            print(note)
        done = sum((out / f"seed-{seed}.mp4").exists() for seed in seeds)
        print(summary + (f"; {done} of {len(seeds)} seeds are there" if done else ""))
        together = args.together or (1 if pipe.mesh is None else pipe.mesh.shape["seed"])
        for line in () if pipe.mesh is not None or done == len(seeds) else memory.lines(pipe, settings, together):
            print(line)
        job = sample_films.Job(
            pipe, settings, out, seeds, steps, fields, config=opened.config, lossless=bool(args.lossless)
        )
        job.run(lambda: pipe.prepare(args.prompt, settings, *pictures), together)
        sample_films.report(out, config, settings.recipe.grid.sigmas, seeds)
    print(f"{out / 'report.html'}")


def recorded(text: str | None, count: int) -> tuple[int, ...]:
    """The steps that `--record` means in a run of `count` steps.

    Raises:
        ValueError: a step that the run does not have, or text that is no list of steps.
    """
    if text is None:
        last, kept = count - 1, min(count, RECORDED)
        return tuple(sorted({round(i * last / max(kept - 1, 1)) for i in range(kept)}))
    if text in ("all", "none"):
        return tuple(range(count)) if text == "all" else ()
    try:
        steps = sorted(numbers(text))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--record: {error}") from None
    if steps[-1] >= count:
        raise ValueError(f"--record: step {steps[-1]}, the run has steps 0 to {count - 1}")
    return tuple(steps)


def _config(args: Any, pipe: Any, settings: Any, seeds: list[int], steps: Any, fields: Any) -> dict[str, Any]:
    """What decides the numbers of a run, in JSON."""
    from vrjax import files

    content = lambda path: [str(path), files.fingerprint(path)[:16]]
    return {
        **pipe.about,
        "folder": str(pipe.folder.root),
        "prompt": args.prompt,
        "image": args.image and content(args.image),
        "last_image": args.last_image and content(args.last_image),
        **json.loads(json.dumps(dataclasses.asdict(settings))),
        "record": {"steps": list(steps), "fields": list(fields)},
        "seeds": seeds,
    }


def _summary(pipe: Any, settings: Any, seeds: int) -> str:
    h, w = settings.size
    scales = ", ".join(f"{scale:g}" for scale in settings.guidance)
    pair = f", {settings.recipe.high_steps} of them by the high-noise expert" if settings.boundary is not None else ""
    return (
        f"{pipe.folder.name}: {seeds} video{'s' * (seeds > 1)} of {settings.frames} frames, {h}x{w}; {settings.steps} "
        f"{settings.solver} steps on {settings.grid}, shift {settings.shift:g}{pair}; guidance {scales}; {pipe.dtype}"
    )


def _slug(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return words or hashlib.sha256(text.encode()).hexdigest()[:8]

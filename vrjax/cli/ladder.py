"""`vrjax ladder`: a world up the ladder of four generations."""

import argparse
import pathlib
from typing import Any

from vrjax.cli.common import positive

NAME, SUMMARY = "ladder", "twenty checks of a world, and the generation that it reaches"
TEXT = """\
Makes the checks of the survey's ladder on a world and prints its score card: faithfulness (F1-F4), interactiveness
(I1-I6), planning (P1-P5), stochasticity (S1-S5). A generation is reached where each of its checks, and each of those
below, passed. "not applicable": the world lacks what the check needs, and the card says what; it does not pass. "not
tested": the exact world itself had too little to compare with. Thresholds are starting values of vrjax's own.

WORLD is
  push, grid, drive    an exact world, held against itself: it shows that its checks can be passed
  FOLDER, learned:NAME a learned world, as vrjax.world.learned.save writes it, or a shipped one (learned:push,
                       learned:drive), held against the one it was learned from
  MODEL:TASK           an embedded model (a shipped one's name, or a folder) through the adapter, held against the exact
                       films of a task: a step is a whole clip, things are done by its prompt, frames are read block by
                       block. Public weights have no exact world: see vrjax.world.adapter.wrap

--control puts a world with one thing wrong in the place of WORLD, such as frozen (shows its first frame for ever) or
retrieval (replays the nearest of some kept episodes): what such a world passes, a check does not see.

Quick sizes take about a minute for a small exact world and several for a learned one. --full takes the survey's: a
horizon of 1,000 steps, rare events by 10,000 rollouts. P1 is a time: let nothing else run beside it.

The folder holds card.json (every number with its threshold), card.md and card.png.

examples:
  vrjax ladder push                                an exact world: all that can be asked of it is passed
  vrjax ladder push --control frozen               and what a frozen frame still passes
  vrjax ladder learned:push                        the shipped learned one
  vrjax ladder runs/world-push/world --full        one of your own, at the survey's sizes
  vrjax ladder runs/world-push/world --steps 1     the same with one denoising step a frame
  vrjax ladder worlds:maze                         the shipped maze model, a film a step
  vrjax ladder worlds:maze --control retrieval --only F1 I6
"""
SIZES = {"runs": "rollouts of a check", "frames": "steps that are timed", "coins": "rollouts of rare events"}
SHIPPED = "learned:"
_MADE = ("card.json", "card.md", "card.png")


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("world", metavar="WORLD", help="push, grid, drive, a folder, learned:NAME, or MODEL:TASK")
    sub.add_argument("--control", metavar="NAME", help="a world with one thing wrong in its place")
    sub.add_argument("--only", nargs="+", metavar="CHECK", help="some checks (all twenty, which a generation needs)")
    sub.add_argument("--full", action="store_true", help="the survey's sizes (quick ones)")
    sub.add_argument("--steps", type=positive, help="denoising steps of a learned world's frame or a model's clip")
    sub.add_argument("--slip", type=float, metavar="P", help="how often the coin of push or grid falls (0.3)")
    for name, text in SIZES.items():
        sub.add_argument(f"--{name}", type=positive, help=f"{text} (as quick or full say)")
    sub.add_argument("--seed", type=int, default=0, help="of all that is drawn (0)")
    sub.add_argument("--out", type=pathlib.Path, help="folder of the card (runs/ladder-WORLD)")
    sub.add_argument("--fresh", action="store_true", help="forget the card that is in the folder")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    import dataclasses

    import jax

    from vrjax.files import named, writing
    from vrjax.report import figures, ladders, tables
    from vrjax.world import ladder

    for name in args.only or ():
        if name not in ladder.names():
            raise ValueError(f"--only: {named.unknown('check', name, ladder.names())}")
    if args.control is not None and args.control not in ladder.controls.names():
        raise ValueError(f"--control: {named.unknown('control', args.control, ladder.controls.names())}")
    if not 0 <= args.seed < 2**31:
        raise ValueError(f"--seed: found {args.seed}, expected 0 to 2**31 - 1")
    asked = {name: getattr(args, name) for name in SIZES if getattr(args, name) is not None}
    w, truth, about = opened(args.world, args.steps, args.slip)
    sizes = ladder.FULL if args.full else ladder.QUICK
    runs = max(sizes.runs, getattr(ladder.facts.get(truth.name), "RUNS", 0))
    sizes = dataclasses.replace(sizes, **{"runs": runs, **asked})
    if args.control is not None:
        w = ladder.controls.get(args.control, truth)
    name = "-".join(["ladder", writing.slug(args.world), *([args.control] if args.control else [])])
    out = args.out or pathlib.Path("runs") / name
    config = {"world": args.world, "control": args.control, "only": args.only, "seed": args.seed, **about}
    config |= {"sizes": dataclasses.asdict(sizes), "device": writing.device()}
    with writing.Run(out, config, kind="ladder", fresh=args.fresh, made=_MADE):
        tell = lambda row: print(
            f"{row.name}  {row.verdict:14}  {row.title} ({row.seconds:.0f} s): {row.why}", flush=True
        )
        card = ladder.run(w, jax.random.key(args.seed), truth=truth, only=args.only, sizes=sizes, told=tell)
        writing.json(out / "card.json", config | card.to_dict() | {"asked": args.world})
        rows = [(row.name, str(row.generation), row.title, row.verdict, row.why) for row in card.rows]
        heads = ("check", "generation", "asks for", "verdict", "why")
        writing.text(out / "card.md", tables.markdown(heads, rows, repr(card)))
        figures.save(ladders.verdicts(card.to_dict()), out / "card.png")
    print(f"{card!r}\n{out / 'card.md'}")


def opened(world: str, steps: int | None, slip: float | None) -> tuple[Any, Any, dict[str, Any]]:
    """The world that is named, the exact one that it is held against, and what decides its numbers, as JSON.

    Raises:
        FileNotFoundError, ValueError: there is none, or it does not have the option.
    """
    import dataclasses
    import functools

    from vrjax.files import fingerprint, named
    from vrjax.models import pipeline
    from vrjax.models.embedded import shipped
    from vrjax.world import adapter, exact, ladder, learned

    path = pathlib.Path(world)
    if world.startswith(SHIPPED):
        if (name := world.removeprefix(SHIPPED)) not in learned.names():
            raise FileNotFoundError(named.unknown("learned world", name, learned.names()))
        path = learned.place(name)
    if slip is not None and world not in ("push", "grid"):
        raise ValueError(f"--slip: {world} has no coin of that name, push and grid do")
    if world in exact.names():
        if steps is not None:
            raise ValueError(f"--steps: {world} is exact and denoises nothing")
        whole = getattr(ladder.facts.get(world), "whole", functools.partial(exact.example, world))
        w = whole() if slip is None else exact.get(world, slip=slip)
        return w, w, {"slip": slip}
    if path.is_dir():
        w = learned.load(path)
        spec = w.spec if steps is None else w.spec.asked_in(steps)
        w = dataclasses.replace(w, spec=spec)
        return w, w.spec.home, {"steps": w.spec.steps, "weights": fingerprint(path)}
    model, mark, task = world.rpartition(":")
    if not mark:
        near = named.unknown("world", world, exact.names())
        raise FileNotFoundError(f"{near}, a folder of a learned world, or MODEL:TASK such as worlds:maze")
    folder = shipped.path(model) if model in shipped.names() else pathlib.Path(model)
    pipe = pipeline.open(folder)
    if not isinstance(pipe, pipeline.EmbeddedPipeline):
        raise ValueError(f"{world}: {pipe.name} was trained on no task, expected an embedded model")
    w = adapter.of_task(pipe, task, steps=steps)
    return w, w.home, {"steps": w.sampler.settings.steps, "weights": pipe.about["weights"]}

"""VChain as the paper ran it, on a public Wan text-to-video model: think, tune, sample.

Stage 1 reads visual thoughts from a folder in the paper's layout (`vrjax.reasoning.thoughts.files`), or has them made
by an OpenAI-compatible server and keeps them there. Stage 2 tunes fresh adapters on every case's keyframes, in one
program for all cases. Stage 3 samples each case's story with its adapters; beside it the rows that need no tuning: the
short prompt, and the story without adapters. Everything is a file of its own: the same command goes on after a kill.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from rich.console import Console

from vrjax import files
from vrjax.cli.common import size
from vrjax.data import mp4
from vrjax.files import kept
from vrjax.files.writing import atomic
from vrjax.flow import Record
from vrjax.models import pipeline
from vrjax.models.wan import lora_files
from vrjax.reasoning.thoughts import adapt, keyframes
from vrjax.reasoning.thoughts import files as thought_files
from vrjax.reasoning.thoughts.keyframes import VisualThoughts
from vrjax.study.tables import Bench, running

ARMS = {"t2v": "short prompt", "text": "ordered thoughts, no tuning", "vchain": "VChain"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is made. The paper: 81 frames of 480 x 832, rank and alpha 16, rate 1e-4; updates are not stated."""

    frames: int = 81
    size: tuple[int, int] = (480, 832)
    updates: int = 200
    rank: int = 16
    lr: float = 1e-4
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    arms: tuple[str, ...] = tuple(ARMS)


_PATH, _COUNT = {"type": pathlib.Path}, {"type": int}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "real weights": {
        "--model": _PATH | {"help": "folder of a public Wan text-to-video model"},
        "--thoughts": _PATH | {"help": "folder of visual thoughts in the paper's layout"},
        "--prompts": _PATH | {"help": "JSON of cases and prompts, to be thought about by a server"},
        "--server": {"help": "its address, such as https://api.openai.com/v1"},
        "--chat": {"help": "its model that sees and answers (gpt-4o)"},
        "--image": {"help": "its model that draws (gpt-image-1)"},
        "--frames": _COUNT | {"help": "of a video (81)"},
        "--size": {"type": size, "metavar": "HxW", "help": "pixels (480x832)"},
        "--updates": _COUNT | {"help": "of the adapters (200; the paper does not say)"},
        "--steps": _COUNT | {"help": "of the sampler (the model's own)"},
        "--guidance": {"type": float, "help": "(the model's own)"},
    }
}


def main(options: argparse.Namespace, console: Console) -> None:
    """What the command line asks for: thoughts where there are none yet, then tuning and samples."""
    if options.thoughts is None:
        raise ValueError("--model needs --thoughts, a folder in the paper's layout")
    names = ("frames", "size", "updates", "steps", "guidance")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(options, name)) is not None}
    chosen = Options(**given)
    pipe = pipeline.open(options.model)
    if options.prompts is not None:
        if options.server is None:
            raise ValueError("--prompts needs --server: nothing is sent anywhere unless asked")
        server = {"base_url": options.server, "chat": options.chat, "image": options.image}
        ask(options.prompts, options.thoughts, server=server, console=console)
    run(pipe, options.thoughts, options.out / f"vchain-{pipe.name}", chosen, console, fresh=options.fresh)


def ask(prompts: pathlib.Path, folder: pathlib.Path, *, server: Mapping[str, Any], console: Console) -> None:
    """Has the thoughts of prompts made by a server, and keeps them in a folder; no case is asked for twice.

    Args:
        prompts: JSON {case: prompt}.
        folder: in the paper's layout.
        server: of `vrjax.reasoning.thoughts.endpoint.Endpoint`, and `chat` and `image`, names of the models.

    Raises:
        ValueError: a file that is no such object; and what the reasoner raises.
    """
    from vrjax.reasoning.thoughts.reasoners.http import ChatReasoner, ImageMaker

    try:
        wanted = json.loads(prompts.read_text("utf-8"))
    except ValueError:
        raise ValueError(f"{prompts}: not JSON") from None
    if not isinstance(wanted, dict) or not wanted or not all(isinstance(v, str) for v in wanted.values()):
        raise ValueError(f"{prompts}: expected an object of cases and their prompts")
    if folder.exists():
        if missing := sorted(set(wanted) - set(thought_files.read(folder))):
            raise ValueError(f"{folder} exists and lacks {', '.join(missing)}: choose another --thoughts")
        return
    models = {name: value for name in ("chat", "image") if (value := server.get(name))}
    rest = {name: value for name, value in server.items() if name not in ("chat", "image")}
    parts, done, clients = folder.with_name(folder.name + ".parts"), {}, []
    for case, prompt in wanted.items():
        part = parts / case
        if not part.exists():
            if not clients:
                clients = [
                    ChatReasoner(*([models["chat"]] if "chat" in models else []), **rest),
                    ImageMaker(*([models["image"]] if "image" in models else []), **rest),
                ]
            found = keyframes.think(prompt, *clients)
            parts.mkdir(parents=True, exist_ok=True)
            thought_files.write(part, {case: found.thoughts})
            frames = len(found.thoughts.frames)
            console.print(f"{case}: {frames} keyframes, {found.calls} calls, stopped by {found.stopped}")
        done |= thought_files.read(part)
    thought_files.write(folder, done)
    shutil.rmtree(parts)


def run(
    pipe: Any, folder: pathlib.Path, out: pathlib.Path, options: Options, console: Console, *, fresh: bool = False
) -> None:
    """Tunes and samples all cases of a folder of thoughts. `fresh`: forget an earlier run in `out`.

    Raises:
        ValueError: a model that is not a text-to-video model of one network, unknown arms, or another run in `out`.
    """
    if pipe.folder.kind != "t2v" or len(pipe.folder.networks) != 1:
        raise ValueError(f"{pipe.name}: VChain tunes a text-to-video model of one network")
    if unknown := sorted(set(options.arms) - set(ARMS)):
        raise ValueError(f"vchain: unknown arms {unknown}, expected some of {sorted(ARMS)}")
    cases = thought_files.read(folder)
    chosen = {name: getattr(options, name) for name in ("frames", "size", "steps", "guidance")}
    pipe.settings(**chosen)  # an option that does not fit is said before hours of tuning
    about = dataclasses.asdict(options) | pipe.about | {"cases": {c: t.story for c, t in cases.items()}}
    # What a file depends on: every byte of the model and its LoRAs, what is asked for, and the code.
    model = pipe.about | {"model": files.fingerprint(pipe.folder.root), "code": kept.source(__name__)}
    with running(out, about, kind="vchain, real weights", fresh=fresh, console=console) as here:
        if "vchain" in options.arms:
            _tune(pipe, cases, out, options, model, here)
        task = here.progress.add_task("sampling", total=len(cases) * len(options.arms))
        sampled = {**model, "settings": dataclasses.asdict(pipe.settings(**chosen)), "seed": options.seed}
        for case, thoughts in cases.items():
            for arm in options.arms:
                here.progress.update(task, description=f"{case}: {ARMS[arm]}")
                prompt = thoughts.input_prompt if arm == "t2v" else thoughts.story
                adapter = out / "adapters" / f"{case}.safetensors" if arm == "vchain" else None
                of = sampled | {"prompt": prompt, "adapter": adapter and files.fingerprint(adapter)}

                def sample(path: pathlib.Path, prompt: str = prompt, adapter: pathlib.Path | None = adapter) -> None:
                    dits = pipe.dits
                    if adapter is not None:
                        dits = (lora_files.merge(pipe.dit, [(lora_files.load_lora(adapter), 1.0)]),)
                    found = pipe.sample(prompt, dits=dits, seeds=[options.seed], record=Record(steps=()), **chosen)
                    mp4.write(
                        path, np.clip(pipe.decode(found.final)[0], -1, 1), fps=pipe.defaults.fps, codec=mp4.PLAYED
                    )

                kept.file(out / arm / f"{case}.mp4", of, sample, say=here.progress.console.print)
                here.progress.advance(task)
    rows = [f"| {case} | {thoughts.input_prompt} | {len(thoughts.frames)} |" for case, thoughts in cases.items()]
    with atomic(out / "cases.md") as scratch:
        scratch.write_text("\n".join(["| case | prompt | keyframes |", "| --- | --- | --- |", *rows, ""]))
    console.print(f"{len(cases)} cases in {out}: {', '.join(options.arms)}")


def _tune(
    pipe: Any,
    cases: Mapping[str, VisualThoughts],
    out: pathlib.Path,
    options: Options,
    model: Mapping[str, Any],
    here: Bench,
) -> None:
    """Adapters of every case, from fresh ones: nothing of one case reaches another."""
    task = here.progress.add_task("tuning", total=len(cases))

    @functools.cache
    def prepared() -> tuple[adapt.TuningSet, Callable]:
        here.progress.update(task, description="keyframes are encoded")
        encode = jax.jit(lambda vae, video: vae.encode(video))
        # All cases' chains are filled up to the longest, so that one program tunes them, whichever are left to do.
        data = adapt.tuning_set(
            list(cases.values()),
            lambda video: np.asarray(encode(pipe.vae, video)),
            lambda caption: pipe.text([caption])[0],
            size=options.size,
        )
        how = functools.partial(adapt.adapt, steps=options.updates, rank=options.rank, lr=options.lr)
        return data, jax.jit(how)

    most = max(len(thoughts.frames) for thoughts in cases.values())
    asked = {name: getattr(options, name) for name in ("updates", "rank", "lr", "size", "seed")}
    for number, (case, thoughts) in enumerate(cases.items()):

        def tune(path: pathlib.Path, number: int = number, case: str = case) -> None:
            data, run = prepared()
            here.progress.update(task, description=f"{case}: {options.updates} updates on {data.count[number]} stills")
            key = jax.random.fold_in(jax.random.key(options.seed), number)
            found = run(pipe.dit, data.latents[number], data.texts[number], key, count=data.count[number])
            if not np.isfinite(np.asarray(found.loss)).all():
                raise FloatingPointError(f"{case}: the adapters' loss is not finite")
            lora_files.save_lora(jax.device_get(found.adapter), path)

        of = {**model, **asked, "number": number, "most": most, "thoughts": _content(thoughts)}
        kept.file(out / "adapters" / f"{case}.safetensors", of, tune, say=here.progress.console.print)
        here.progress.advance(task)
    here.progress.remove_task(task)


def _content(thoughts: VisualThoughts) -> str:
    """A hash of a case's captions and of its keyframes' pixels."""
    found = hashlib.sha256(json.dumps(thoughts.captions).encode())
    for frame in thoughts.frames:
        found.update(f"{frame.shape} {frame.dtype}".encode() + np.ascontiguousarray(frame).tobytes())
    return found.hexdigest()

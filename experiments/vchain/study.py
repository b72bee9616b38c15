"""VChain (arXiv 2510.05094) in a small world: do visual thoughts make a video model follow cause and effect?

    python -m experiments.vchain            one small base model, a few scenes: minutes on two cores
    python -m experiments.vchain --search   hyper-parameters on validation scenes (about 6 minutes)
    python -m experiments.vchain --full     five bases trained from scratch, powered (about 40 minutes on one core)
    python -m experiments.vchain --model Wan2.1-T2V-1.3B --thoughts FOLDER          the paper's own run, on real weights
    python -m experiments.vchain --model Wan2.1-T2V-1.3B --thoughts FOLDER --prompts cases.json --server URL

Dominoes, taps, cups, lamps and scales in a row pass on what happens to them. The base models have two flaws: with a
short prompt they follow a wrong rule more often than not, and they have a wrong idea of a broken egg and of a duck
afloat. All rows of the paper's table are run beside controls that it lacks: keyframes of another scene (placebo),
tuned with a short prompt, keyframes given at their true times, best of k at equal compute, noisy and learned reasoners.

With `--model` the three stages run on a public Wan text-to-video model: thoughts are read from FOLDER (the paper's
reasoning.json, metadata.csv and images), or made by an OpenAI-compatible server (key in OPENAI_API_KEY) and kept there;
adapters are tuned for every case; videos of the short prompt, of the thoughts without tuning, and of VChain are written
to `--out`.

Writes `runs/<name>/`: `arms.md` (all arms), `results.json` (claims with intervals and verdicts), `vchain.png`,
`report.html`, the chains in the paper's own layout (`thoughts/`) and `bases/`. Every part is kept as soon as it is
measured; the same command goes on after a kill, and nothing is measured twice.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.vchain import base, config, figure, page, suite, thoughts, verdicts
from experiments.vchain import search as tuning
from experiments.vchain.arms import Programs
from vrjax.files.writing import atomic
from vrjax.models import wan
from vrjax.models.wan import WanDiT
from vrjax.report import claims as claim_files
from vrjax.study import command
from vrjax.study.tables import Bench
from vrjax.tasks.chains import rules

SHIPPED = pathlib.Path(__file__).parent / "base0"


def run(study: config.Study, root: pathlib.Path, *, fresh: bool, console: Console) -> None:
    """Measures what is missing, judges, and writes the run folder."""
    began = time.monotonic()
    folder = root / study.name
    command.settle(folder, command.made_of(study), fresh=fresh)
    here = rules.Chains(frames=study.frames, cells=study.cells)
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bench = Bench(folder / "tables", group=study.group, progress=progress)
        task = progress.add_task("reasoner", total=1)
        model = thoughts.classifier(here, n=study.transitions, seed=study.seed)
        progress.update(task, advance=1)
        right = model.accuracy
        console.print(
            f"learned reasoner: {right.rows:.3f} of {right.n} held-out transitions right in all elements, "
            f"{right.changes:.3f} of those in which something changes"
        )
        scenes = progress.add_task("scenes", total=None)
        programs = Programs(study, tick=lambda n: progress.update(scenes, advance=n))
        found, sets = [], []
        for index, seed in enumerate(study.bases):
            console.print(f"base {index + 1} of {len(study.bases)}")
            dit = model_of(study, index, folder, here, progress)
            progress.update(scenes, description=f"base {seed}: scenes sampled or tuned", completed=0)
            on = suite.scenes(study, index, folder / "thoughts" / f"base{seed}")
            found.append(suite.measure(bench, programs, study, dit, index, on, model))
            sets.append(on)
            console.print("judging and drawing")
            write(folder, study, found, sets, model)  # so far: a run that is cut off has judged its whole bases
    for row in claim_files.read(folder):
        low, high = row.interval
        number = f"{row.estimate:+.3f} [{low:+.3f}, {high:+.3f}]"
        console.print(f"  {row.id:<30} {number:<28} n={row.n:<6} {row.verdict}", highlight=False, soft_wrap=True)
    console.print(
        f"done in {(time.monotonic() - began) / 60:.1f} min. Look at it: {folder / 'vchain.png'}, report.html"
    )


def search(study: config.Study, root: pathlib.Path, *, fresh: bool, console: Console) -> None:
    """The search of the adapters' hyper-parameters on validation scenes; see `experiments.vchain.search`."""
    here = tuning.study(study)
    folder = root / here.name
    command.settle(folder, command.made_of(here), fresh=fresh)
    scenes = rules.Chains(frames=here.frames, cells=here.cells)
    with Progress(console=console, transient=True) as progress:
        dit = model_of(here, 0, folder, scenes, progress)
        bench = Bench(folder / "tables", group=here.group)
        path = tuning.run(bench, here, dit, folder, lambda line: console.print(line, highlight=False))
    console.print(f"written: {path}")


def model_of(study: config.Study, index: int, folder: pathlib.Path, here: rules.Chains, progress: Progress) -> WanDiT:
    """Base number `index`: the shipped one, or the one in the run folder, trained first where it is not there."""
    if study.shipped:
        return wan.load_dit(SHIPPED)
    seed = study.bases[index]
    path = folder / "bases" / str(seed)
    if not path.exists():
        task = progress.add_task(f"base {seed}: training", total=study.base.steps)
        data = base.films(here, study.base.scenes, first=100_000 * (seed + 1))
        tell = lambda done, video, image: progress.update(
            task, completed=done, description=f"base {seed}: error {video:.3f}, {image:.3f}"
        )
        dit, curve = base.train(study.base, seed, data, report=tell)
        save(dit, curve, path)
        progress.remove_task(task)
    return wan.load_dit(path)


def save(dit: WanDiT, curve: np.ndarray, path: pathlib.Path) -> None:
    """A model's folder, there whole or not at all, with its errors while training."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=".", dir=path.parent))
    try:
        wan.save_dit(dit, scratch / "model")
        lines = [{"video": float(a), "image": float(b)} for a, b in curve]
        (scratch / "model" / "training.json").write_text(json.dumps({"errors": lines}, indent=1) + "\n")
        os.rename(scratch / "model", path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(
    folder: pathlib.Path,
    study: config.Study,
    found: verdicts.Found,
    sets: Sequence[suite.Scenes],
    model: thoughts.NextState,
) -> None:
    """Claims, table, figure and page of the bases measured so far."""
    novel = [on.novel for on in sets]
    rows, curve = verdicts.arm_rows(found, novel, study), verdicts.curve_rows(found, study)
    details = {
        "arms": rows,
        "curve": curve,
        "reasoner": model.accuracy._asdict(),
        "bases": f"{len(found)} of {len(study.bases)}",
        "scenes": {"per base": study.scenes, "novel": [int(m.sum()) for m in novel]},
        "tries": study.tries,
    }
    with atomic(folder / "arms.md") as scratch:
        scratch.write_text(verdicts.arms_markdown(rows))
    figure.draw(folder / "vchain.png", sets[0], found[0], rows, curve, study)
    judged = verdicts.claims(found, novel, study)
    page.write(folder, sets[0], found[0], rows, curve, judged, study)
    claim_files.write(folder, judged, details=details)


def on_real_weights(options: argparse.Namespace, console: Console) -> None:
    """The paper's three stages on a public model; see `experiments.vchain.real`."""
    from experiments.vchain import real
    from vrjax.cli.sample import size
    from vrjax.models import pipeline

    if options.thoughts is None:
        raise ValueError("--model needs --thoughts, a folder in the paper's layout")
    names = ("frames", "updates", "steps", "guidance")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.size is not None:
        given["size"] = size(options.size)
    chosen = real.Options(**given)
    pipe = pipeline.open(options.model)
    if options.prompts is not None:
        if options.server is None:
            raise ValueError("--prompts needs --server: nothing is sent anywhere unless asked")
        server = {"base_url": options.server, "chat": options.chat, "image": options.image}
        real.ask(options.prompts, options.thoughts, server=server, console=console)
    out = options.out / f"vchain-{pipe.name}" if options.out == pathlib.Path("runs") else options.out
    real.run(pipe, options.thoughts, out, chosen, console, fresh=options.fresh)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = command.parser("vchain", __doc__)
    parser.add_argument("--full", action="store_true", help="five bases trained from scratch, powered comparisons")
    parser.add_argument(
        "--search", action="store_true", help="search the adapters' hyper-parameters on validation scenes"
    )
    real = parser.add_argument_group("real weights")
    real.add_argument("--model", type=pathlib.Path, help="folder of a public Wan text-to-video model")
    real.add_argument("--thoughts", type=pathlib.Path, help="folder of visual thoughts in the paper's layout")
    real.add_argument("--prompts", type=pathlib.Path, help="JSON of cases and prompts, to be thought about by a server")
    real.add_argument("--server", help="its address, such as https://api.openai.com/v1")
    real.add_argument("--chat", help="its model that sees and answers (gpt-4o)")
    real.add_argument("--image", help="its model that draws (gpt-image-1)")
    real.add_argument("--frames", type=int, help="of a video (81)")
    real.add_argument("--size", metavar="HxW", help="pixels (480x832)")
    real.add_argument("--updates", type=int, help="of the adapters (200; the paper does not say)")
    real.add_argument("--steps", type=int, help="of the sampler (the model's own)")
    real.add_argument("--guidance", type=float, help="(the model's own)")
    options = parser.parse_args(argv)

    def job() -> None:
        if options.model is not None:
            on_real_weights(options, Console())
            return
        study = config.full() if options.full else config.quick()
        (search if options.search else run)(study, options.out, fresh=options.fresh, console=Console())

    return command.status("vchain", job)


if __name__ == "__main__":
    raise SystemExit(main())

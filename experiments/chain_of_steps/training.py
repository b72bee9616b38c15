"""The specialists of Chain-of-Steps: one config trained with several seeds, and judged on validation clips.

    python -m experiments.chain_of_steps.training reasoner entrant --seeds 0 1 2 3 4 5 6 7
    python -m experiments.chain_of_steps.training entrant --seeds 100 101 --steps 800      (pilot seeds)

On an accelerator the seeds of a config are one program, vmapped, and processes of the host make their clips. On CPU
they are trained one after the other, each as `vrjax train CONFIG --name NAME-SEED --seed SEED` would (several cores:
one such command a core, each with its own seeds). Seed k sees the same clips, noise and initial weights both ways.

Writes `runs/<config>-<seed>/` (`model/`, `metrics.jsonl`, `results.json`) per seed. What is there is not trained again,
and a killed command goes on from its last checkpoint. Needs neither Grain nor PyAV nor tyro where seeds are vmapped.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import math
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vrjax.data import worlds
from vrjax.files import writing
from vrjax.models import family
from vrjax.parallel.mesh import reuse_host_memory
from vrjax.report import claims
from vrjax.train import config as configs
from vrjax.train import loop, optim, step, update
from vrjax.train import state as states
from vrjax.train.checkpoints import Checkpoints
from vrjax.train.config import TrainConfig
from vrjax.train.evaluate import Evaluator
from vrjax.train.progress import Line

AHEAD = 6  # updates whose clips are being made
GATE = (0.60, 0.97)  # solved-rate, mean over seeds, within which claims about a skill are tested
FOLDER = pathlib.Path(__file__).parents[2] / "configs" / "chain_of_steps"


def of_seed(config: TrainConfig, seed: int) -> TrainConfig:
    """The run of one seed: `vrjax train CONFIG --name NAME-SEED --seed SEED`."""
    return dataclasses.replace(config, name=f"{config.name}-{seed}", seed=seed)


def train(
    config: TrainConfig,
    seeds: Sequence[int],
    root: pathlib.Path,
    *,
    together: int | None = None,
    workers: int | None = None,
    fresh: bool = False,
) -> dict[int, dict[str, Any]]:
    """Trains what is not trained yet. Returns the results of each seed, as in its `results.json`.

    Args:
        config: of the run; its name and seed are replaced.
        seeds: which.
        root: where run folders are.
        together: seeds in one program; by default all on an accelerator, 1 on CPU.
        workers: processes that make clips (0: this one), where seeds are trained together.
        fresh: forget earlier runs.
    """
    together = (1 if jax.default_backend() == "cpu" else len(seeds)) if together is None else together
    done = lambda seed: not fresh and (root / f"{config.name}-{seed}" / "results.json").exists()
    todo = [seed for seed in seeds if not done(seed)]
    for start in range(0, len(todo), together):
        few = todo[start : start + together]
        if together == 1:
            loop.run(of_seed(config, few[0]), root=root, fresh=fresh)
        else:
            Together(config, few, root, workers=workers, fresh=fresh).run()
    return {seed: claims.read_details(root / f"{config.name}-{seed}") for seed in seeds}


class Together:
    """Several seeds of a config as one program: state, batch and key of every seed stacked on a leading axis."""

    def __init__(
        self, config: TrainConfig, seeds: Sequence[int], root: pathlib.Path, *, workers: int | None, fresh: bool
    ):
        if config.mesh or config.start or config.lora or config.data.cache:
            raise ValueError(f"{config.name}: seeds are trained together from random weights, on procedural worlds")
        self.config, self.seeds, self.root = config, tuple(seeds), root
        self.each = {seed: of_seed(config, seed) for seed in seeds}
        # Blocks are scanned on an accelerator: XLA compiled the unrolled ones of ten seeds for over five minutes there.
        unroll = config.model.unroll and jax.default_backend() == "cpu"
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, unroll=unroll))
        self.network = states.Network(config, {})
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = min(len(seeds) * 2, cores - 1) if workers is None else workers
        self.fresh = fresh
        check = config.validate
        self.judge = Evaluator(
            lambda params: self.network.build(params, {}, self.network.sampler()),
            config.model,
            factor=config.data.codec_factor,
            steps=check.steps,
            shift=check.shift,
            group=check.group if jax.default_backend() == "cpu" else max(check.clips, check.final_clips, 1),
        )

    def run(self) -> None:
        """Trains from the newest checkpoint to the end, evaluates, exports."""
        config, name = self.config, f"{self.config.name}-seeds-{'-'.join(map(str, self.seeds))}"
        with contextlib.ExitStack() as held:
            enter = held.enter_context
            enter(writing.Run(self.root / name, config, kind="seeds", fresh=self.fresh, other="--root"))
            for own in self.each.values():
                enter(loop.folder_of(own, self.root, self.fresh))
            saved = Checkpoints(self.root / name / "checkpoints", keep=2)
            held.callback(saved.close)
            keys = jnp.stack([states.run_key(own, states.STEP) for own in self.each.values()])
            state = self._start()
            restored = saved.restore(state.trees())
            done = 0
            if restored is not None:
                state, done = dataclasses.replace(state, **restored.trees), restored.step
            line = Line(name, done, config.steps)
            held.callback(line.close)
            rows = [writing.Rows(self.root / own.name / "metrics.jsonl", step=done) for own in self.each.values()]
            for file in rows:
                held.callback(file.close)
            state = self._train(state, done, keys, line, rows, saved)
            saved.wait()
            self._finish(state, line)

    def _start(self) -> update.State:
        """The first state of all seeds, in turn: each has the bits it would have alone."""
        of, (tx, _) = family.of(self.config.model), optim.of(self.config.optim, self.config.steps)

        def one(key: jax.Array) -> update.State:
            params = nnx.to_pure_dict(nnx.split(of.init(self.config.model, key))[1])
            return update.start(params, tx, average=self.config.ema.decay > 0)

        keys = jnp.stack([states.run_key(own, states.FRESH) for own in self.each.values()])
        return jax.jit(lambda keys: jax.lax.map(one, keys))(keys)

    def _train(
        self, state: Any, done: int, keys: Any, line: Line, rows: list[writing.Rows], saved: Checkpoints
    ) -> update.State:
        config = self.config
        body = step.body(self.network)
        move = jax.jit(jax.vmap(lambda state, batch, key: body(state, {}, batch, key)), donate_argnums=0)
        pending = None
        with clips(config, self.seeds, done, self.workers) as batches:
            for number in range(done + 1, config.steps + 1):
                state, values = move(state, next(batches), keys)
                if pending is not None:  # looked at one update late: the device never waits for the host
                    self._look(*pending, line, rows)
                pending = number, values
                check = config.validate.every and number % config.validate.every == 0 and number < config.steps
                save = number % config.checkpoint.every == 0 or number == config.steps
                if check or save:
                    self._look(*pending, line, rows)
                    pending = None
                if check:
                    for file, rates in zip(rows, self._rates(state, config.validate.clips), strict=True):
                        file.add({"step": number, "validation": rates})
                if save:
                    saved.save(number, state.trees(), data=number, meta={"seeds": list(self.seeds)})
        return state

    def _look(self, number: int, values: dict[str, Any], line: Line, rows: list[writing.Rows]) -> None:
        found = jax.device_get(values)
        for i, (seed, file) in enumerate(zip(self.seeds, rows, strict=True)):
            row = {name: float(value[i]) for name, value in found.items()}
            if not all(map(math.isfinite, row.values())) or row["relative"] > self.config.diverged:
                raise loop.Diverged(f"{self.config.name}: seed {seed} diverged at step {number}: {row}")
            file.add({"step": number, **row})
        line.update(number, {"loss": float(np.mean(found["loss"]))})

    def _rates(self, state: update.State, count: int) -> list[dict[str, dict[str, float]]]:
        """Solved-rates of every seed, each from noise of its own."""
        tasks, split = sorted(self.config.data.mix), self.config.validate.split
        own = lambda i: jax.tree.map(lambda x: x[i], state.best)
        return [self.judge.rates(own(i), tasks, split, count, seed) for i, seed in enumerate(self.seeds)]

    def _finish(self, state: update.State, line: Line) -> None:
        check = self.config.validate
        rates = self._rates(state, check.final_clips) if check.final_clips else [{} for _ in self.seeds]
        for i, own in enumerate(self.each.values()):
            best = jax.tree.map(lambda x, i=i: x[i], state.best)
            loop.export(self.root / own.name / "model", dataclasses.replace(self.network, config=own), best, own)
            claims.write(self.root / own.name, [], details=loop.results_of(own, rates[i]))
            line.say(f"  {own.name}: {told(rates[i])}")


# -------------------------------------------------------------------------------------------------- clips of all seeds


@functools.lru_cache(maxsize=32)
def _stream(mix: tuple[tuple[str, float], ...], split: str, seed: int, factor: int, shape: tuple[int, int]) -> Any:
    return worlds.Stream(dict(mix), split, seed, factor, *shape, clips=None, options={})


def _stay_on_the_host() -> None:
    jax.config.update("jax_platforms", "cpu")


def rows_of(spec: tuple, seed: int, number: int, batch: int) -> dict[str, np.ndarray]:
    """Batch number `number` (from 0) of a seed, the one that `vrjax train` makes."""
    mix, split, *rest = spec
    stream = _stream(mix, split, seed, *rest)
    rows = [stream[number * batch + i] for i in range(batch)]
    return {name: np.stack([row[name] for row in rows]) for name in ("latent", "image", "text")}


@contextlib.contextmanager
def clips(config: TrainConfig, seeds: Sequence[int], done: int, workers: int) -> Iterator[Iterator[dict[str, Any]]]:
    """Batches of all seeds from update `done` on, with the seeds as leading axis; made ahead by `workers` processes."""
    data, model = config.data, config.model
    spec = (tuple(data.mix.items()), data.split, data.codec_factor, (model.text_len, model.text_dim))
    join = lambda parts: {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    if not workers:
        yield (join([rows_of(spec, s, i, data.batch) for s in seeds]) for i in range(done, config.steps))
        return
    # Spawned, not forked: this process has threads. They make arrays with NumPy and must never touch an accelerator.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_stay_on_the_host) as pool:
        ask: Callable[[int], list] = lambda i: [pool.submit(rows_of, spec, s, i, data.batch) for s in seeds]

        def made() -> Iterator[dict[str, Any]]:
            waiting = collections.deque(ask(i) for i in range(done, min(done + AHEAD, config.steps)))
            for i in range(done, config.steps):
                if i + AHEAD < config.steps:
                    waiting.append(ask(i + AHEAD))
                yield join([part.result() for part in waiting.popleft()])

        try:
            yield made()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# -------------------------------------------------------------------------------------------------------- command line


def told(rates: dict[str, dict[str, float]]) -> str:
    """Solved-rates in words."""
    return ", ".join(f"{name} {r['solved']:.1%} [{r['low']:.1%}, {r['high']:.1%}]" for name, r in rates.items())


def gate(found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Per world: the solved-rate of each seed, their mean, and whether that lies within the gate."""
    out: dict[str, Any] = {}
    for world in sorted({name for result in found.values() for name in result["solved"]}):
        each = {str(seed): result["solved"][world]["solved"] for seed, result in found.items()}
        mean = math.fsum(each.values()) / len(each)
        out[world] = {"seeds": each, "mean": mean, "gate": list(GATE), "met": GATE[0] <= mean <= GATE[1]}
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser("python -m experiments.chain_of_steps.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("configs", nargs="+", help="files in configs/chain_of_steps, by name")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)), help="which (0 ... 7)")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    parser.add_argument("--together", type=int, help="seeds in one program (all; on CPU 1)")
    parser.add_argument("--workers", type=int, help="processes that make clips (two a seed, within the cores)")
    parser.add_argument("--causal", action="store_true", help="block-causal attention over frames: the control")
    parser.add_argument("--steps", type=int, help="updates; the cosine ends there (the config's)")
    parser.add_argument("--clips", type=int, help="validation clips at the end (the config's)")
    parser.add_argument("--every", type=int, help="updates between validations (none)")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    given = parser.parse_args(argv)
    reuse_host_memory()  # before anything is computed, as `vrjax train` does
    try:
        for name in given.configs:
            config = asked(configs.load(FOLDER / f"{name}.py"), given)
            how = {"together": given.together, "workers": given.workers, "fresh": given.fresh}
            found = gate(train(config, given.seeds, given.root, **how))
            writing.json(given.root / f"{config.name}.json", {"steps": config.steps, "solved": found})
            print(json.dumps({config.name: found}, indent=2))
    except loop.Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 2
    return 0


def block_causal(config: TrainConfig) -> TrainConfig:
    """The same recipe with block-causal attention over frames: the control."""
    return dataclasses.replace(
        config, name=f"{config.name}-causal", model=dataclasses.replace(config.model, causal=True)
    )


def asked(config: TrainConfig, given: argparse.Namespace) -> TrainConfig:
    """The config with what the command line says; another recipe has another name."""
    config = block_causal(config) if given.causal else config
    changes: dict[str, Any] = {}
    if given.steps is not None:
        changes |= {"name": f"{config.name}-{given.steps}-updates", "steps": given.steps}
    check: dict[str, int] = {}
    check |= {} if given.clips is None else {"final_clips": given.clips}
    check |= {} if given.every is None else {"every": given.every, "clips": config.validate.final_clips}
    return dataclasses.replace(config, validate=dataclasses.replace(config.validate, **check), **changes)


if __name__ == "__main__":
    sys.exit(main())

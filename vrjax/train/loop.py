"""The training loop: `run(config)` starts a run, or goes on with it, bit for bit."""

import contextlib
import dataclasses
import math
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vrjax import parallel
from vrjax.data import motions, worlds
from vrjax.data.batches import Shuffled, pipeline
from vrjax.files import writing
from vrjax.parallel import processes
from vrjax.report import claims
from vrjax.train import ready, stopping
from vrjax.train import state as states
from vrjax.train import step as steps
from vrjax.train.checkpoints import Checkpoints
from vrjax.train.config import TrainConfig
from vrjax.train.evaluate import solved_rates
from vrjax.train.progress import clock
from vrjax.train.telling import Telling
from vrjax.train.watch import Watch

Config, wanting = TrainConfig, ready.wanting
MADE = ("metrics.jsonl", "timing.jsonl", "results.json", "report.html", "checkpoints", "model", "adapter.safetensors")
MADE += ("tensorboard", "wandb", "wandb-id")
MAY_CHANGE = ("mesh", "rules", "model.sequence")  # where arrays live: a run may go on elsewhere, equal but for rounding


class Diverged(FloatingPointError):
    """Training cannot go on: a loss, gradient or weight is not finite, or the loss has exploded."""


class Stopped(Exception):
    """The run was asked to stop (Ctrl-C, SIGTERM); its state is saved."""


class Made(NamedTuple):
    """What every run starts from: what `states.make` made on `mesh`, and this process's rows of each batch."""

    network: states.Network
    state: states.State
    shardings: states.State
    mesh: Mesh
    rows: tuple[int, ...]


class Parts(NamedTuple):
    """What a run moves: all in which one kind of training differs from another; the loop is the same.

    Attributes:
        state: the first state on the mesh (a `State` or an extension of it), donated by the update.
        update: compiled, `(state, base, batch, key) -> (state, metrics)`; metrics have `loss` and `relative`.
        data: endless iterator of this process's rows of the batches, with `get_state` and `set_state`.
        watch: looks at every row; see `vrjax.train.watch.Watch`.
    """

    state: Any
    update: Callable[..., tuple[Any, dict[str, jax.Array]]]
    data: Any
    watch: Watch = Watch()


def prepare(made: Made) -> Parts:
    """The parts of a training run."""
    update = steps.make(made.network, made.mesh, made.shardings)
    return Parts(made.state, update, batches(made.network.config, made.rows))


_prepare = prepare  # also a parameter's name


def run(
    config: TrainConfig,
    *,
    root: str | pathlib.Path = "runs",
    fresh: bool = False,
    prepare: Callable[[Made], Parts] = prepare,
    wanting: Callable[[Any], list[str]] | None = None,
    log: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains `config` in `root/<name>` to its end and exports the moving average to `root/<name>/model`.

    Called again after a kill, it goes on from the last complete checkpoint and ends in the same bits: batches, noise,
    levels and dropout are functions of the seed and the step alone. Called on a finished run it only reads the results.

    Several processes (`vrjax.parallel.processes`) call it with the same arguments and share the folder; the first one
    writes everything but checkpoints, which are written by all. A run may go on with another number of processes.

    Args:
        config: what to train.
        root: where run folders are.
        fresh: forget an earlier run of this name.
        prepare: what kind of training it is; see `vrjax.align.loop` for another.
        wanting: what it lacks before it begins, see `vrjax.train.ready`. By default of a config's start and data; of
            other parts than `prepare`'s, whose data may be any, of its start.
        log: where else its values go: "tensorboard", "wandb".

    Returns:
        The details of `results.json`: among them `solved`, per world with Wilson intervals. (Training makes no claims.)

    Raises:
        Diverged: a value is not finite, the loss has exploded, or what watches the run calls it collapsed; the last
            good checkpoint is kept, and nothing is exported.
        Stopped: on SIGINT or SIGTERM, after saving.
        ValueError: a folder with another config, an impossible config, data that is not finite; before anything is
            loaded or compiled: start, data or devices that the config does not fit, all in one line.
        OSError: files that cannot be written, a full disk among them; the last good checkpoint is kept.
        processes.Lost: another process of the run has ended.
    """
    folder = pathlib.Path(root) / config.name
    with contextlib.ExitStack() as held:

        def adopt() -> dict[str, Any]:
            opened = held.enter_context(folder_of(config, root, fresh))
            for note in opened.notes:
                print(f"{config.name}: {note}")
            return {"done": (folder / "results.json").exists(), "config": opened.config}

        if jax.process_count() == 1:
            found = adopt()
        else:
            held.enter_context(processes.watched("the same command goes on from the last checkpoint"))
            found = processes.from_first(adopt)
            _same_everywhere(config, found["config"], folder)
        if found["done"]:
            if jax.process_index() == 0:
                print(f"{config.name} is finished; see {folder / 'results.json'} (start over with --fresh)")
            return claims.read_details(folder / "results.json")
        lacks = wanting or (ready.wanting if prepare is _prepare else ready.start)
        processes.in_all(lambda: ready.refuse(config, lacks))
        return Loop(config, folder, prepare, log).run()


def folder_of(config: TrainConfig, root: str | pathlib.Path, fresh: bool) -> writing.Run:
    """The run's folder, opened."""
    where = pathlib.Path(root) / config.name
    return writing.Run(where, config, kind="train", fresh=fresh, may_change=MAY_CHANGE, made=MADE, other="--name")


def _same_everywhere(config: TrainConfig, first: dict[str, Any], folder: pathlib.Path) -> None:
    """Raises in all processes what is wrong in any: another config, or a folder that is not shared."""

    def same() -> None:
        me = f"process {jax.process_index()}"
        if changed := writing.differences(first, writing.to_dict(config)):
            raise ValueError(f"{me} has another config than the first: {', '.join(changed)}")
        if not (folder / "config.json").exists():
            raise ValueError(f"{me} does not see {folder}: --root must be a folder that all processes share")

    processes.in_all(same)


class Loop:
    """One process of a run: everything that lives between two kills."""

    def __init__(
        self,
        config: TrainConfig,
        folder: pathlib.Path,
        prepare: Callable[[Made], Parts] = prepare,
        log: Sequence[str] = (),
    ):
        self.config, self.folder, self.log = config, folder, log
        self.mesh = parallel.run_mesh(config.mesh)
        self.sharding = states.batch_sharding(config, self.mesh)
        rows = config.data.batch
        self.rows = tuple(range(rows)) if jax.process_count() == 1 else processes.local_rows(self.sharding, rows)
        made = Made(*states.make(config, self.mesh), self.mesh, self.rows)
        self.network = made.network
        self.state, self.update, self.data, self.watch = prepare(made)
        self.validate = solved_rates(config, self.network)
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.key = jax.jit(lambda: states.run_key(config, states.STEP), out_shardings=self.whole)()
        self.ballot = stopping.Ballot(self.mesh)
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=config.checkpoint.keep)
        self.position = self._where()

    def run(self) -> dict[str, Any]:
        """Trains from the newest checkpoint to the end, evaluates, exports."""
        config = self.config
        done = self._restore()
        tell = Telling(config, self.folder, done, quiet=not processes.first(), log=self.log)
        if done:
            tell.say(f"{config.name}: going on from step {done} of {config.steps}")
        began = time.monotonic()
        try:
            with stopping.asked() as stop:
                done = self._train(done, tell, stop)
            if done < config.steps:
                raise Stopped(f"stopped at step {done} of {config.steps}; the same command goes on from there")
            self.checkpoints.wait()
            if self.watch.sick:
                raise self._diverged("ended sick", self.watch.sick)
            results = self._finish(tell)
            tell.page("finished")
            tell.say(f"{config.name}: done in {clock(time.monotonic() - began)}; model in {self.folder / 'model'}")
            return results
        except Exception as error:
            tell.page("stopped", [str(error)])
            if processes.several() and not isinstance(error, (Stopped, Diverged)):
                self.checkpoints.abandon()  # of this process alone: closing would wait for the others
            raise
        finally:
            tell.close()
            with contextlib.suppress(OSError):  # a failed save has been reported where it happened
                self.checkpoints.close()

    def _train(self, done: int, tell: Telling, stop: threading.Event) -> int:
        """Updates until the end or until asked to stop. Returns the number of updates done.

        Metrics are looked at one step late, so that the device never waits for the host; before a checkpoint they are
        looked at first, so that a bad state is never saved.
        """
        config, pending, asked = self.config, None, False
        began, start = time.monotonic(), done
        batch = self._next_batch() if done < config.steps else None
        while done < config.steps and not asked:
            assert batch is not None
            position = self._where()  # the batch after the one in hand
            self.state, values = self.update(self.state, self.network.base, batch, self.key)
            done += 1
            self.position = position
            batch = self._next_batch() if done < config.steps else None  # made while the device computes
            if pending is not None:
                self._look(*pending, tell)
            pending = (done, values)
            check = config.validate.every and done % config.validate.every == 0
            save = done % config.checkpoint.every == 0 or done == config.steps
            if check or save:
                self._look(*pending, tell)
                pending = None
            if check:
                tell.validation(done, self._validate(config.validate.clips))
            if save and self.watch.sick:
                tell.remark(done, f"step {done} is not kept: {self.watch.sick}")
            elif save:
                self._save(done)
                tell.saved(done, start, time.monotonic() - began)
            else:
                self.checkpoints.check()
            asked = self.ballot.any(stop.is_set())
        if pending is not None:
            self._look(*pending, tell)
        if done < config.steps and self.checkpoints.latest != done and not self.watch.sick:
            self._save(done)
            self.checkpoints.wait()
        return done

    def _look(self, step: int, values: dict[str, jax.Array], tell: Telling) -> None:
        """Reads the metrics of an update (waits for it), stops the run if they are bad, records them."""
        row = {name: float(value) for name, value in jax.device_get(values).items()}
        bad = [f"{name} is {value}" for name, value in row.items() if not math.isfinite(value)]
        if not bad and row["relative"] > self.config.diverged:
            bad = [f"loss {row['loss']:.4g} is {row['relative']:.3g} times that of predicting zero"]
        if bad:
            raise self._diverged(f"diverged at step {step}", ", ".join(bad))
        tell.update(step, row, self.watch.named(row))
        if (remark := self.watch.see(step, row)) is not None:
            tell.remark(step, remark)
        if self.watch.collapsed:
            raise self._diverged(f"collapsed at step {step}", self.watch.collapsed)

    def _diverged(self, what: str, why: str) -> Diverged:
        self.checkpoints.wait()
        last = self.checkpoints.latest
        kept = "no checkpoint was saved before" if last is None else f"the last good checkpoint, step {last}, is kept"
        return Diverged(f"{self.config.name} {what}: {why}; {kept} (lower optim.lr or set optim.clip)")

    def _next_batch(self) -> dict[str, jax.Array]:
        """The next batch on the devices. Values that are not finite are refused with their place."""
        rows = next(self.data)
        for name, value in rows.items():
            if not np.isfinite(value).all():
                where = np.argwhere(~np.isfinite(value))[0].tolist()
                raise ValueError(f"training data: {name}{where} is {value[tuple(where)]}, expected finite numbers")
        total = self.config.data.batch
        return {k: processes.from_rows(self.sharding, self.rows, v, total) for k, v in rows.items()}

    def _where(self) -> Any:
        return self.data.get_state()

    def _restore(self) -> int:
        restored = self.checkpoints.restore({**self.state.trees(), "key": self.key})
        if restored is None:
            return 0
        self.key = restored.trees.pop("key")
        self.state = dataclasses.replace(self.state, **restored.trees)
        self.position = restored.data
        self.data.set_state(restored.data)
        return restored.step

    def _save(self, step: int) -> None:
        trees = {**self.state.trees(), "key": self.key}
        meta = {"config": writing.to_dict(self.config), "versions": writing.versions()}
        self.checkpoints.save(step, trees, data=self.position, meta=meta)

    def _validate(self, clips: int) -> dict[str, dict[str, float]]:
        return self.validate((self.state.best, self.network.base), clips)

    def _finish(self, tell: Telling) -> dict[str, Any]:
        """The last evaluation and the export; results.json appears last and says that the run is complete."""
        config, check = self.config, self.config.validate
        solved = {}
        if check.final_clips:
            tell.say(f"{config.name}: evaluating {check.final_clips} {check.split} clips per world")
            solved = self._validate(check.final_clips)
            for name, rate in solved.items():
                tell.say(f"  {name:12} solved {rate['solved']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]")
        whole = processes.to_first((self.state.best, self.network.base), self.whole)
        if processes.first():
            export(self.folder / "model", dataclasses.replace(self.network, base=whole[1]), whole[0], config)
        results = results_of(config, solved)
        if processes.first():
            claims.write(self.folder / "results.json", [], details=results)
        processes.wait("finished")
        return results


def results_of(config: TrainConfig, solved: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The details of a run's `results.json`; `solved`: the last evaluation, see `Evaluator.rates`."""
    check = config.validate
    sampler = {"solver": "euler", "steps": check.steps, "shift": check.shift}
    about = {"kind": "train", "name": config.name, "steps": config.steps, "split": check.split}
    return {**about, "sampler": sampler, "solved": solved}


def batches(config: TrainConfig, rows: tuple[int, ...]) -> Any:
    """The iterator of batches: procedural worlds, encoded clips, or numbers of motions (`step.filled`)."""
    spec = config.data
    if spec.cache is not None:
        return pipeline(Shuffled(ready.clips(config), config.seed, "clips"), batch=spec.batch, rows=rows)
    if spec.motions is not None:
        return pipeline(motions.Numbers(config.seed), batch=spec.batch, rows=rows)
    # The pipelines make what the worlds and Wan's pipelines have; what the family has no use for is not looked at.
    text_len, text_dim = ready.text_shape(config)
    return worlds.pipeline(
        spec.mix,
        batch=spec.batch,
        seed=config.seed,
        split=spec.split,
        codec_factor=spec.codec_factor,
        text_len=text_len,
        text_dim=text_dim,
        rows=rows,
    )


def export(folder: pathlib.Path, network: states.Network, weights: Any, config: TrainConfig) -> None:
    """Writes the model as its family does, with `training.json` beside it: what made it and how to prompt it.

    Adapters are merged into the model, and also written beside it (`adapter.safetensors`, the family's keys).

    The folder appears complete or not at all; one that is there is replaced.
    """
    with writing.folder(folder, replace=True) as scratch:
        network.family.save(network.build(weights, network.base, network.plain()), scratch)
        if config.lora is not None:
            network.family.save_adapters(weights, folder.with_name("adapter.safetensors"), alpha=config.lora.alpha)
        writing.json(scratch / "training.json", {"config": writing.to_dict(config), "versions": writing.versions()})

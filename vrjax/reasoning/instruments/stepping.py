"""Runs of a large public model one compiled step at a time: what instruments on real weights need.

A step of a 14 B model takes seconds, so the host may stand between steps: it disturbs a state, streams what is recorded
to disk, and swaps the two experts (all runs take their high-noise steps first, then all take their low-noise steps, so
each expert is loaded once and only one is on the device). Steps are Euler's, as in the paper's code; Euler keeps no
state between steps, so a run disturbed at step s starts from the clean run's state there. One program per number of
states and kind of step, whatever the step: its level is an argument.

    experts = Experts(pipe)                                     # shared by the steppers of runs of several sizes
    stepper = Stepper(pipe, pipe.settings(solver="euler", ...), experts)
    x, inputs = pipe.noise(stepper.settings, [0]), pipe.prepare(prompt, stepper.settings, picture)
    for expert, first, last in stepper.stages:
        stepper.use(expert)
        for step in range(first, last):
            out = stepper.plain(x, inputs, step)                # or .coupled(..., blocks), .swapped(...)
            x = out["next"]
"""

import gc
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Level
from vrjax.models.pipeline import denoise
from vrjax.models.wan import indexed
from vrjax.reasoning.instruments import cka, ensemble, layers


class Experts:
    """The networks of a pipeline, one at a time: asking for one forgets the other."""

    def __init__(self, pipe: Any):
        self._pipe, self._held = pipe, {}

    def __call__(self, expert: int) -> Any:
        if expert not in self._held:
            self.clear()
            self._held[expert] = self._pipe._network(expert)
        return self._held[expert]

    def clear(self) -> None:
        """Frees the one that is held."""
        self._held = {}
        gc.collect()


class Stepper:
    """Takes steps of a model under the settings of a run.

    Args:
        pipe: a `vrjax.models.pipeline.Pipeline`.
        settings: of the run, with Euler's solver on the model's own grid.
        load: expert's number -> network; several steppers may share one `Experts`.

    Attributes:
        grid: of the run.
        stages: (expert, first step, last step + 1), in order.
        loaded: the expert on the device, or None.
    """

    def __init__(self, pipe: Any, settings: Any, load: Callable[[int], Any] | None = None):
        if settings.solver != "euler" or settings.times is not None:
            raise ValueError(f"instruments take Euler's steps, found the solver {settings.solver!r}")
        self.pipe, self.settings, self.recipe = pipe, settings, settings.recipe
        self.grid = self.recipe.grid
        high = self.recipe.high_steps
        cuts = ((0, 0, high), (1, high, self.grid.steps)) if len(pipe.folder.networks) == 2 else ((0, 0, high),)
        self.stages = tuple(stage for stage in cuts if stage[1] < stage[2])
        shape = pipe.latent_shape(settings)
        self.frames = shape[0] // pipe.folder.cfg.patch[0]
        self.loaded: int | None = None
        self._load = load or pipe._network
        self._dit: Any = None
        self._programs: dict[Any, Callable] = {}

    def use(self, expert: int | None) -> None:
        """Puts one expert on the device, instead of the other; None frees it."""
        if expert == self.loaded:
            return
        self._dit = None  # first: the two together may not fit
        self._dit = None if expert is None else self._load(expert)
        self.loaded = expert

    def plain(self, x: Any, inputs: Any, step: int) -> dict[str, np.ndarray]:
        """One step of states (n, t, h, w, c): `next`, `x0` of the same shape, `energy` (n, block, frame), float32."""
        return self._step("plain", x, inputs, step)

    def coupled(self, x: Any, inputs: Any, step: int, blocks: tuple[int, ...]) -> dict[str, np.ndarray]:
        """One step of all states together, the residual stream after `blocks` averaged over them."""
        return self._step(("coupled", blocks), x, inputs, step)

    def swapped(self, x: Any, pair: Any, step: int, mode: str, block: int) -> dict[str, np.ndarray]:
        """One step of two runs from one state (t, h, w, c), the second's activations in one block of the first's.

        Args:
            x: the state of both.
            pair: their inputs, stacked.
            step: which.
            mode: of `vrjax.reasoning.instruments.layers.MODES`, without "tokens".
            block: which; -1 swaps nothing.

        Returns:
            As `plain`, for the first run and the second.
        """
        return self._step(("swapped", mode), np.stack([x, x]), pair, step, jnp.int32(block))

    def _step(self, kind: Any, x: Any, inputs: Any, step: int, *more: Any) -> dict[str, np.ndarray]:
        if self.loaded is None or not any(e == self.loaded and a <= step < b for e, a, b in self.stages):
            raise ValueError(f"step {step} is not one of the expert that is loaded ({self.loaded})")
        sigmas = np.asarray(self.grid.sigmas, np.float32)
        level = (sigmas[step], np.float32(self.grid.times[step]), sigmas[step + 1])
        scale = self.settings.guidance[self.loaded]
        if (kind, scale) not in self._programs:
            self._programs[kind, scale] = self._program(kind, scale)
        return jax.device_get(self._programs[kind, scale](self._dit, inputs, jnp.asarray(x, jnp.float32), level, *more))

    def _program(self, kind: Any, scale: float) -> Callable:
        tap = layers.energy(self.frames)

        def one(dit: Any, inputs: Any, x: Any, level: Any, edits: Mapping[str, Callable]) -> dict[str, Any]:
            sigma, time, after = level
            recipe = denoise.Recipe(self.grid, "euler", (scale,))
            (phase,) = denoise.phases((dit,), inputs, recipe, taps={"block.*": tap}, edits=edits)
            out = phase.velocity(x, Level(sigma, time))
            v = out.v.astype(jnp.float32)
            return {"next": x + (after - sigma) * v, "x0": x - sigma * v, "energy": out.taps["block.*"]}

        if kind == "plain":
            return jax.jit(lambda dit, inputs, x, level: jax.vmap(lambda x: one(dit, inputs, x, level, {}))(x))
        what, how = kind
        if what == "coupled":
            edits = ensemble.hidden_mean(how)
            several = lambda fn, x: jax.vmap(fn, axis_name=ensemble.AXIS)(x)
            return jax.jit(lambda dit, inputs, x, level: several(lambda x: one(dit, inputs, x, level, edits), x))

        def pair(dit: Any, inputs: Any, x: Any, level: Any, block: Any) -> dict[str, Any]:
            other = lambda h: jax.lax.all_gather(h, "pair")[1]
            edit = indexed(lambda h, index: jnp.where(index == block, other(h), h))
            edits = {site: edit for site in layers.MODES[how]}
            return jax.vmap(lambda inputs, x: one(dit, inputs, x, level, edits), axis_name="pair")(inputs, x)

        return jax.jit(pair)


def spread(count: int, n: int) -> list[int]:
    """At most `count` of 0 ... n - 1, evenly, both ends among them."""
    kept = min(count, n)
    return sorted({round(i * (n - 1) / max(kept - 1, 1)) for i in range(kept)})


def stack(a: Any, b: Any) -> Any:
    """Two runs' inputs as `Stepper.swapped` takes them."""
    return jax.tree.map(lambda x, y: jnp.stack([x, y]), a, b)


@jax.jit
def divergence(x0: Any, clean: Any) -> Any:
    """Relative L2 distance, and 1 - linear CKA with one row per latent position, of two estimates (t, h, w, c)."""
    far = cka.divergence(x0[None], clean[None])
    return jnp.concatenate([far.l2, far.cka])

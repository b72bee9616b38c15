"""Pilots of the world-model study, the numbers of tuning.md: their layouts enter no claim.

    python -m experiments.world_model.pilots contact push runs/other/world         # how far off a block that is shoved
    python -m experiments.world_model.pilots chance runs/slippery/world --denoise 4      # of walks, agent may stay
    python -m experiments.world_model.pilots plans push --search horizon=6 candidates=32 iterations=2 elites=4
    python -m experiments.world_model.pilots plans --search horizon=4 candidates=15 iterations=2 elites=3 --act 3

`contact` asks worlds (folders, or names of shipped ones) in the steps in which a planner through the exact world moves
the block: how many pixels the block is off after one step, and after six in which it came half a pixel or more.
`chance` draws walks in which the agent may stay and compares them with the law, after each of three steps. `plans`
acts by plans through a learned world, or through the exact one where none is named, and says in how many layouts the
block came to its goal, and in how many within two thirds of the steps.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.world_model import chances, episodes, names, plans, reading
from experiments.world_model.asking import asked
from experiments.world_model.config import Calibration, Search
from vrjax import world
from vrjax.world import exact, learned
from vrjax.world.ladder import chance
from vrjax.world.learned.world import Learned

KEY = 777
"""Of layouts, unless another is asked for."""
FAR = 6
"""Steps after which errors are told beside those of one."""
MOVED = (0.1, 0.5)
"""Pixels that the block comes in one step, and in `FAR`, where it counts as moved."""
EXACT = Search(horizon=8, candidates=24, iterations=2)
"""The planner through the exact world whose episodes `contact` looks at."""


def contact(w: Learned, key: Any, *, count: int = 32, steps: int = 24) -> tuple[float, float]:
    """Mean distance of a learned world's block from the exact one, in pixels, after one step and after `FAR`.

    Raises:
        ValueError: the block was not moved.
    """
    home: Any = w.spec.home

    def one(w: Learned, key: Any) -> Any:
        layout, acting, asking = jax.random.split(key, 3)
        first = home.make(layout)
        acted = {"steps": steps, **EXACT.options}
        found = world.control(home, first, episodes.to, acting, args=(first.goal,), **acted)
        states = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, found.states)
        blocks = states.blocks[:, 0]

        def at(t):
            begun = w.encode(home.render(jax.tree.map(lambda a: a[t], states)))
            actions = lax.dynamic_slice_in_dim(found.inputs, t, FAR)
            told = world.rollout(w, begun, actions, jax.random.fold_in(asking, t))[1].decoded
            true = lax.dynamic_slice_in_dim(blocks, t + 1, FAR)
            off = jnp.linalg.norm(episodes.places(w, told)[:, names.BLOCK] - true, axis=-1)
            return off, jnp.linalg.norm(true - blocks[t], axis=-1)

        return jax.vmap(at)(jnp.arange(steps - FAR + 1))

    off, came = jax.jit(jax.vmap(one, (None, 0)))(w, jax.random.split(key, count))
    pick = lambda i, least: np.asarray(off)[..., i][np.asarray(came)[..., i] > least]
    near, far = pick(0, MOVED[0]), pick(-1, MOVED[1])
    if not near.size or not far.size:
        raise ValueError(f"contact: the block came nowhere in {count} episodes of {steps} steps; ask for more")
    return float(near.mean()), float(far.mean())


def reached(w: Learned | None, search: Search, key: Any, *, layouts: int, steps: int, act: int) -> np.ndarray:
    """(layout, 2): whether the block came to its goal in all steps, and in two thirds of them."""
    home: Any = exact.get("push", blocks=1, walls=0) if w is None else w.spec.home

    def one(w: Any, key: Any) -> Any:
        layout, acting = jax.random.split(key)
        through = names.EXACT if w is None else None
        if w is None:
            w = _Exact(home)
        came = plans.towards(w, home.make(layout), search, acting, steps, act, through)[1]
        return jnp.stack([came.any(), came[: 2 * steps // 3].any()])

    return np.asarray(jax.jit(jax.vmap(one, (None, 0)))(w, jax.random.split(key, layouts)))


def chances_of(w: Learned, key: Any, *, count: int) -> list[dict[str, float]]:
    """After each step of a walk in which the agent may stay, what claims are about, means over `count` situations.

    Raises:
        ValueError: a world that was learned from one without chance.
    """
    spec, stay = Calibration(situations=count), float(getattr(w.spec.home, "stay", 0.0))
    if not 0 < stay < 1:
        raise ValueError(f"chance: {w.name} was learned from a world whose agent stays with probability {stay:g}")
    coins, weights = chance.rows(spec.steps, stay)
    keys = jax.random.split(key, count)
    each = lambda run: jax.jit(lambda w, keys: lax.map(lambda key: run(w, {"key": key}), keys))(w, keys)
    law = {**each(chances.lawful(spec, coins, weights)), reading.WEIGHTS: weights}
    drawn = np.asarray(each(chances.dreamt(spec)))
    out = []
    for step in range(spec.steps):
        found = reading.scores(law, drawn, spec, step)
        told = {"bias": np.abs(found.bias), "coverage": found.coverage, "spread over the law's": found.spread}
        row = {name: float(value.mean()) for name, value in told.items()}
        row["spread over the law's"] /= float(found.law.mean())
        out.append(row | {"CRPS over the least": float(found.crps.mean() / found.least.mean())})
    return out


class _Exact:
    """What a plan through the exact world asks of a learned one: which world that is."""

    def __init__(self, home: Any):
        self.spec = self
        self.home = home


def searched(words: Sequence[str]) -> Search:
    """A search from words such as `horizon=6`.

    Raises:
        ValueError: a word of another form, an unknown field, a value that is no number.
    """
    fields: dict[str, Any] = {}
    known = {name: type(value) for name, value in vars(Search()).items()}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            raise ValueError(f"--search: found {word!r}, expected FIELD=VALUE with one of {', '.join(known)}")
        fields[name] = known[name](value)
    return Search(**fields)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.world_model.pilots",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("contact", "chance", "plans"))
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help="a learned world's folder, or a shipped one's name")
    parser.add_argument("--steps", type=int, default=24, help="of an episode (24)")
    parser.add_argument("--layouts", type=int, default=16, help="how many (16)")
    parser.add_argument("--key", type=int, default=KEY, help=f"of layouts and chance ({KEY})")
    parser.add_argument("--denoise", type=int, metavar="N", help="denoising steps of a frame (those of the world)")
    parser.add_argument("--least", type=float, default=0.26, help="the lowest level that it learned (0.26)")
    parser.add_argument("--search", nargs="+", default=[], metavar="FIELD=VALUE", help="of plans: of config.Search")
    parser.add_argument("--act", type=int, default=1, help="actions of each plan that are taken (1)")
    given = parser.parse_args(argv)
    key = jax.random.key(given.key)
    try:
        search = searched(given.search)
        for name in given.worlds or ([None] if given.what == "plans" else []):
            w = None if name is None else asked(learned.load(name), steps=given.denoise, least=given.least)
            if given.what == "contact":
                assert w is not None
                near, far = contact(w, key, count=given.layouts, steps=given.steps)
                print(f"{name}: block {near:.3f} pixels off after 1 step, {far:.3f} after {FAR}", flush=True)
                continue
            if given.what == "chance":
                assert w is not None
                for step, row in enumerate(chances_of(w, key, count=given.layouts), 1):
                    print(f"{name}, step {step}: {', '.join(f'{k} {v:.3f}' for k, v in row.items())}", flush=True)
                continue
            found = reached(w, search, key, layouts=given.layouts, steps=given.steps, act=given.act).mean(0)
            told = f"{search}, {plans.calls(search)} model calls a plan"
            print(f"{name or names.EXACT}: {found[0]:.2f} reached, {found[1]:.2f} soon; {told}", flush=True)
    except (ValueError, OSError) as error:
        print(f"world_model: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""An independent judge of motions: a small network that reads from joints which script was performed.

    judge = recogniser.trained(pathlib.Path("runs/vimogen"))            # read, or trained and kept
    seen = recogniser.recognise(judge, joints)                          # Script of the likeliest rows
    recogniser.agrees(script, seen)                                     # Parts(action, arms, side, hand, count)

It has seen motions of all three sets, of a seed of its own and with noise on their joints, and nothing that a model
made. `vrjax.motion.program.predicates` judges by rules instead; where both agree, neither is being gamed.
"""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from vrjax.files import kept, leaves
from vrjax.flow import draws
from vrjax.motion import program
from vrjax.motion.program import verbs
from vrjax.motion.rotations import unit

SEED = 7001  # far from those of trainings and tests
WIDTH, BATCH, STEPS, RATE = 96, 64, 1500, 2e-3
NOISE = 0.02  # metres; each motion has its own share of it, so that small defects do not decide
SIZES = {"lower": len(verbs.LOWER), "upper": len(verbs.UPPER), "side": 2, "upper_side": 2, "count": 3}


class Parts(NamedTuple):
    """What agrees of a script and what was seen; a part that the script does not have agrees with everything."""

    action: Bool[Array, "*n"]
    arms: Bool[Array, "*n"]
    side: Bool[Array, "*n"]
    hand: Bool[Array, "*n"]
    count: Bool[Array, "*n"]

    @property
    def all(self) -> Bool[Array, "*n"]:
        """Whether everything agrees."""
        return self.action & self.arms & self.side & self.hand & self.count


class Recogniser(nnx.Module):
    """Frames one by one, three times three of them into one, mean and maximum, and a row of logits for each part."""

    def __init__(self, rngs: nnx.Rngs):
        self.frames = nnx.Linear(132, WIDTH, rngs=rngs)
        self.over_time = nnx.List([nnx.Linear(3 * WIDTH, WIDTH, rngs=rngs) for _ in range(3)])
        self.inner = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, sum(SIZES.values()), rngs=rngs)

    def __call__(self, joints: Float[Array, "t 22 3"]) -> dict[str, Array]:
        h = jax.nn.gelu(self.frames(features(joints)))
        for layer in self.over_time:
            padded = jnp.pad(h, ((1, 1), (0, 0)), "edge")  # a convolution
            h = jax.nn.gelu(layer(jnp.concatenate([padded[:-2], padded[1:-1], padded[2:]], -1)[::2]))
        h = jax.nn.gelu(self.inner(jnp.concatenate([h.mean(0), h.max(0)])))
        ends = np.cumsum(list(SIZES.values()))[:-1]
        return dict(zip(SIZES, jnp.split(self.out(h), ends), strict=True))


def features(joints: Float[Array, "t 22 3"]) -> Float[Array, "t 132"]:
    """Joints from the point under the pelvis, and their ways to the next frame in decimetres, both in the body's own
    heading: where a motion is drawn, and where it faces, does not matter."""
    j = jnp.asarray(joints)
    x = unit((j[:, 2] - j[:, 1]) * jnp.array([1.0, 1.0, 0.0]))
    z = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), x.shape)
    turn = jnp.stack([x, jnp.cross(z, x), z], 1)  # rows: right, ahead, up
    floor = jnp.stack([j[:, 0, 0], j[:, 0, 1], jnp.broadcast_to(j[..., 2].min(), len(j))], -1)
    ways = jnp.concatenate([j[1:] - j[:-1], j[-1:] - j[-2:-1]])
    both = jnp.concatenate([j - floor[:, None], 10 * ways], 1)
    return jnp.einsum("tij,tkj->tki", turn, both).reshape(len(j), -1)


def recognise(judge: Recogniser, joints: Float[Array, "t 22 3"]) -> program.Script:
    """The likeliest script of a motion at 20 frames a second, z up; jit- and vmap-able. Speed is not judged."""
    best = {name: jnp.argmax(row) for name, row in judge(joints).items()}
    return program.Script(**best | {"count": best["count"] + 1, "speed": jnp.ones((), int)})


def agrees(script: program.Script, seen: program.Script) -> Parts:
    """Which parts of a script, but for its speed, were seen."""
    has = _has(script)
    same = lambda name: ~has[name] | (getattr(script, name) == getattr(seen, name))
    return Parts(*(same(name) for name in ("lower", "upper", "side", "upper_side", "count")))


def _has(script: program.Script) -> dict[str, Array]:
    """Which parts a script has: some actions have no side or count, and some need the arms for themselves."""
    of = lambda rows, fact, index: jnp.array([fact(row) for row in rows])[index]
    arms = of(verbs.LOWER, lambda row: row.apart == 0, script.lower)
    return {
        "lower": jnp.ones_like(arms),
        "upper": arms,
        "side": of(verbs.LOWER, lambda row: row.sided, script.lower),
        "upper_side": arms & of(verbs.UPPER, lambda row: row.sided, script.upper),
        "count": of(verbs.LOWER, lambda row: row.counted, script.lower),
    }


def example(key: Array, frames: int) -> tuple[program.Script, Array]:
    """A script of any set and the joints of a noisy performance of it."""
    keys = jax.random.split(key, 5)
    drawn = [program.draw(keys[0], split) for split in program.SETS]
    which = jax.random.categorical(keys[1], jnp.log(jnp.array([0.5, 0.25, 0.25])))
    script = jax.tree.map(lambda *parts: jnp.stack(parts)[which], *drawn)
    joints = program.perform(keys[2], script, frames).motion.joints
    size = NOISE * jax.random.uniform(keys[3]) ** 2
    return script, joints + size * jax.random.normal(keys[4], joints.shape)


def train(steps: int = STEPS, frames: int = 60, seed: int = SEED) -> Recogniser:
    """A recogniser of motions of about so many frames, trained on motions that never repeat."""
    graph, weights = nnx.split(Recogniser(nnx.Rngs(seed)))
    tx = optax.adam(optax.cosine_decay_schedule(RATE, steps))

    def loss(weights: Any, key: Array) -> Array:
        def one(key: Array) -> Array:
            script, joints = example(key, frames)
            logits, has = nnx.merge(graph, weights)(joints), _has(script)
            right = script._asdict() | {"count": script.count - 1}
            error = lambda name: optax.softmax_cross_entropy_with_integer_labels(logits[name], right[name])
            return jnp.sum(jnp.stack([jnp.where(has[name], error(name), 0.0) for name in SIZES]))

        return jnp.mean(jax.vmap(one)(jax.random.split(key, BATCH)))

    def step(weights: Any, moments: Any, number: Array) -> tuple[Any, Any]:
        updates, moments = tx.update(jax.grad(loss)(weights, jax.random.fold_in(draws.key(seed), number)), moments)
        return optax.apply_updates(weights, updates), moments

    run, moments = jax.jit(step, donate_argnums=(0, 1)), tx.init(weights)
    for number in np.arange(steps):
        weights, moments = run(weights, moments, number)
    return nnx.merge(graph, weights)


def trained(folder: pathlib.Path) -> Recogniser:
    """The recogniser that is kept in `folder`, or a new one, kept there; see `vrjax.files.leaves.keep`."""
    about = {"seed": SEED, "steps": STEPS, "code": kept.source(__name__)}
    return leaves.keep(folder / "recogniser.safetensors", about, train, lambda: Recogniser(nnx.Rngs(0)))

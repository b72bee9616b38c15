"""Priors on clips as flows, and how each arm draws: latent particles through the flow's map, guided samplers, and
importance weights of a pool of draws.

A prior is the world's own `occluder.Law`, whose velocity is exact, or the parameters of a small transformer of the
library that was trained by flow matching. Both are arguments of compiled programs, which serve all tasks, sizes of data
and seeds: every task's operator is the matrix of a family of `vrjax.inverse.operators`, over its norm, with rows of
zeros up to as many as the largest one has.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from experiments.inverse import guided_arms, occluder
from experiments.inverse.config import Video
from experiments.inverse.occluder import SHAPE, SIZE, Law
from experiments.inverse.video_names import AVERAGED, BLURRED, DROPPED
from vrjax.flow import Grid, Record, Snapshot, Velocity, dpmpp_2m, sample
from vrjax.inverse import guided, latent, operators
from vrjax.models.wan import WanConfig, WanDiT
from vrjax.train import objectives, optim, update

NOISE = {DROPPED: 1.5, BLURRED: 1.2, AVERAGED: 1.6}
"""Standard deviations, in the clips' unit: with the last two a third of the observations settles the continuation."""
BLUR = 2.0
"""In pixels."""
BEND = 7.0
"""Rho of Karras et al. 2022."""
TEXT = np.zeros((1, 4), np.float32)
"""The network is told nothing; its family wants a row."""


class Task(NamedTuple):
    """One way of observing.

    Attributes:
        operator: of norm 1, from `SHAPE` to (m,); its last rows may be 0.
        forward: (rows, 256) the same without these rows, in float64.
        noise_std: over the operator's norm.
    """

    operator: operators.Operator
    forward: np.ndarray
    noise_std: float


class Path(NamedTuple):
    """What is looked at along the steps of draws. `residual` (..., s): the norm of y - A x0_hat over the noise's;
    `above` (..., s): whether x0_hat is nearer to a clip of continuation A than to any of B."""

    residual: Any
    above: Any


@functools.cache
def families() -> dict[str, operators.Operator]:
    """The operator of each task, of its family."""
    return {
        DROPPED: operators.frames_dropped(SHAPE, (0, 1)),
        BLURRED: operators.blur(SHAPE, BLUR),
        AVERAGED: operators.frames_averaged(SHAPE, 2),
    }


@functools.cache
def tasks() -> dict[str, Task]:
    """All tasks by name, in one shape."""
    matrices = {name: occluder.matrix(operator) for name, operator in families().items()}
    most, out = max(len(each) for each in matrices.values()), {}
    for name, forward in matrices.items():
        norm = np.linalg.norm(forward, 2)
        padded = np.zeros((most, SIZE))
        padded[: len(forward)] = forward / norm
        single = operators.dense(padded.astype(np.float32), SHAPE)
        out[name] = Task(single, forward / norm, NOISE[name] / float(norm))
    return out


def observed(rng: np.random.Generator, task: Task, clips: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
    """An observation of each clip, (n, m) with zeros where the operator's rows are."""
    rows = len(task.forward)
    y = np.zeros((len(clips), *task.operator.out_shape))
    y[:, :rows] = clips @ task.forward.T + task.noise_std * rng.normal(size=(len(clips), rows))
    return y


def network(sizes: Video) -> WanConfig:
    """The transformer: a token for each frame, of the frame and a channel that says which one it is."""
    return WanConfig(
        dim=sizes.dim,
        ffn_dim=sizes.ffn,
        heads=sizes.heads,
        layers=sizes.layers,
        in_channels=2,
        out_channels=1,
        patch=(1, *SHAPE[1:3]),
        freq_dim=32,
        text_dim=TEXT.shape[1],
        text_len=1,
        gate_init=1.0,
        unroll=True,
    )


@functools.lru_cache(maxsize=4)
def _graph(sizes: Video) -> Any:
    return nnx.split(nnx.eval_shape(lambda: WanDiT(network(sizes), rngs=nnx.Rngs(0))))[0]


def velocity(sizes: Video, prior: Any, *, once: bool = False) -> Velocity:
    """The flow velocity of a prior.

    Of a network it is that of the Gaussian of the data's mean and mean variance, exactly, with the network's output F
    beside it in the unit in which F has variance 1: with x' = x - (1 - t) mean and `d = (1 - t)^2 variance + t^2`,
    `v = (t - (1 - t) variance) / d x' - mean - sqrt(variance / d) F(x' / sqrt(d), t)`. (Karras et al. 2022, table 1, in
    the flow's scale.)

    Args:
        sizes: of the network.
        prior: a `Law`, or what `train` returns.
        once: the network will be asked a single time, as in training.
    """
    if isinstance(prior, Law):
        return occluder.velocity(prior)
    dit = nnx.merge(_graph(sizes), nnx.State(prior["network"]))
    frames = np.broadcast_to(np.linspace(-1, 1, SHAPE[0], dtype=np.float32)[:, None, None, None], SHAPE)
    inner = (lambda x, level: dit(x, level.time, TEXT, image=frames)) if once else dit.velocity(TEXT, frames)
    mean, variance = prior["mean"], prior["variance"]

    def at(x: Any, level: Any) -> Any:
        t = jnp.asarray(level.sigma, x.dtype)
        spread = (1 - t) ** 2 * variance + t**2
        away = x - (1 - t) * mean
        found = inner(away / jnp.sqrt(spread), level).v
        return (t - (1 - t) * variance) / spread * away - mean - jnp.sqrt(variance / spread) * found

    return at


def train(
    sizes: Video, key: Key[Array, ""], clips: Float[np.ndarray, "n d"], most: int
) -> tuple[dict[str, Any], Float[np.ndarray, " s"]]:
    """A network that was trained on clips by flow matching, and the mean loss of each tenth of its steps.

    Args:
        sizes: of the network, and steps.
        key: of first weights, batches and noise.
        clips: n, flattened.
        most: rows that the compiled program takes, n or more: one program serves all n.

    Returns:
        `network` (averaged weights), `mean` and `variance` of the clips; losses (10,).
    """
    rows = np.resize(clips, (most, clips.shape[1])).reshape(most, *SHAPE).astype(np.float32)
    mean = clips.mean(0, dtype=np.float64).reshape(SHAPE)
    own = {"mean": np.float32(mean), "variance": np.float32(np.mean((clips - mean.ravel()) ** 2, dtype=np.float64))}
    found, losses = _trained(key, rows, len(clips), own, sizes=sizes)
    losses = np.asarray(losses)
    return {"network": found, **own}, losses[: len(losses) // 10 * 10].reshape(10, -1).mean(1)


@jax.jit(static_argnames="sizes")
def _trained(key: Any, clips: Any, n: Any, own: Any, *, sizes: Video) -> tuple[Any, Any]:
    first, rest = jax.random.split(key)
    params = nnx.to_pure_dict(nnx.split(WanDiT(network(sizes), rngs=nnx.Rngs(first)))[1])
    tx = optim.make(kind="muon", lr=sizes.lr, steps=sizes.steps, warmup=min(50, sizes.steps))

    def step(state: Any, key: Any) -> tuple[Any, Any]:
        chosen, levels, noise = jax.random.split(key, 3)
        rows = clips[jax.random.randint(chosen, (sizes.batch,), 0, n)]
        sigmas = objectives.sample_sigmas(levels, sizes.batch)

        def loss(params: Any) -> tuple[Any, None]:
            flow = velocity(sizes, {"network": params, **own}, once=True)
            each = jax.vmap(functools.partial(objectives.flow_matching, flow))(
                rows, jax.random.split(noise, sizes.batch), sigmas
            )
            return jnp.mean(each), None

        state, moved = update.move(loss, tx, state, decay=sizes.ema)
        return state, moved.metrics["loss"]

    state, losses = jax.lax.scan(step, update.start(params, tx, average=True), jax.random.split(rest, sizes.steps))
    return state.ema, losses


def grid(sizes: Video) -> Grid:
    """Of the map from latent to clip, a step an evaluation: pure noise, then levels whose noise over data falls evenly
    in its `BEND`-th root."""
    first, last = sizes.highest ** (1 / BEND), sizes.lowest ** (1 / BEND)
    ratio = np.linspace(first, last, sizes.evaluations - 1) ** BEND
    return Grid(np.concatenate([[1.0], ratio / (1 + ratio), [0.0]]))


def push(sizes: Video, prior: Any, z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Clips, flattened, of latents, by `sizes.evaluations` evaluations each; a multiple of 256 in all or fewer."""
    lot = min(len(z), 256)
    made = [np.asarray(_pushed(prior, z[at : at + lot], sizes=sizes)) for at in range(0, len(z), lot)]
    return np.concatenate(made)


def _map(sizes: Video, prior: Any, z: Any, record: Record) -> Any:
    return sample(velocity(sizes, prior), z.reshape(SHAPE), grid(sizes), solver=dpmpp_2m(), record=record)


@jax.jit(static_argnames="sizes")
def _pushed(prior: Any, z: Any, *, sizes: Video) -> Any:
    return jax.vmap(lambda z: _map(sizes, prior, z, Record(steps=())).final.reshape(-1))(z)


def above(law: Law, x: Float[Array, "... d"]) -> Any:
    """Whether clips, flattened, are nearer to a mean of continuation A than to any of B."""
    near = x @ law.means.T - 0.5 * jnp.sum(jnp.asarray(law.means) ** 2, -1)
    return jnp.max(near[..., 0::2], -1) > jnp.max(near[..., 1::2], -1)


def _watched(law: Law, operator: Any, y: Any, noise_std: Any) -> Callable[[Snapshot], Path]:
    unit = noise_std * jnp.sqrt(jnp.sum(jnp.any(operator.matrix != 0, 1)))

    def fn(snapshot: Snapshot) -> Path:
        missing = jnp.sqrt(jnp.sum((y - operator.apply(snapshot.x0)) ** 2))
        return Path(missing / unit, above(law, snapshot.x0.reshape(-1)))

    return fn


class Particles(NamedTuple):
    """What tempered particles give of o observations.

    Attributes:
        clips: (o, c, 256) the last particles' clips.
        path: of them, (o, c, s).
        power: (o,) the power of the likelihood at the end; below 1 nothing of a run is of the posterior.
        log_evidence: (o,) less the Gaussian's constant.
        finite: (o,) whether all values of the likelihood were.
    """

    clips: Any
    path: Path
    power: Any
    log_evidence: Any
    finite: Any


def particles(
    sizes: Video, law: Law, prior: Any, task: Task, y: Float[np.ndarray, "o m"], key: Key[Array, ""]
) -> Particles:
    """A run of tempered particles given each observation, `sizes.lanes` of them at once."""
    keys, found = jax.random.split(key, len(y)), []
    for at in range(0, len(y), sizes.lanes):
        rows = np.arange(at, at + sizes.lanes) % len(y)
        given = (law, prior, task.operator, y[rows].astype(np.float32), np.float32(task.noise_std), keys[rows])
        found.append(jax.tree.map(np.asarray, _tempered(*given, sizes=sizes)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(y)], *found)


@functools.cache
def _log_likelihood(sizes: Video) -> Callable[..., Any]:
    def value(z: Any, prior: Any, operator: Any, y: Any, noise_std: Any) -> Any:
        x = _map(sizes, prior, z, Record(steps=())).final
        return -0.5 * jnp.sum(((y - operator.apply(x)) / noise_std) ** 2)

    return value


@jax.jit(static_argnames="sizes")
def _tempered(law: Any, prior: Any, operator: Any, y: Any, noise_std: Any, keys: Any, *, sizes: Video) -> Particles:
    def one(y: Any, key: Any) -> Particles:
        first, run = jax.random.split(key)
        chain = latent.tempered_smc(
            run,
            _log_likelihood(sizes),
            jax.random.normal(first, (sizes.particles, SIZE)),
            sizes.rounds,
            args=(prior, operator, y, noise_std),
            moves=sizes.moves,
        )
        record = Record(fn=_watched(law, operator, y, noise_std))
        made = jax.vmap(lambda z: _map(sizes, prior, z, record))(chain.z[:, -1])
        info = chain.info
        clips = made.final.reshape(sizes.particles, SIZE)
        return Particles(clips, made.stats, info.tempering[-1], info.log_evidence, jnp.all(info.finite))

    return jax.vmap(one)(y, keys)


class Weighed(NamedTuple):
    """A pool of draws of a prior, weighted by the likelihood: for each observation (o,) the probability of A, the
    effective number of draws, and the log of the evidence less the Gaussian's constant."""

    chance: np.ndarray
    ess: np.ndarray
    log_evidence: np.ndarray


def weighed(
    task: Task, pool: Float[np.ndarray, "n d"], chance: Float[np.ndarray, " n"], y: Float[np.ndarray, "o m"]
) -> Weighed:
    """Importance weights of a pool, of whose clips `chance` says how likely they are of continuation A."""
    seen = np.asarray(pool, np.float64) @ task.forward.T
    own = y[:, : seen.shape[1]]
    square = np.sum(own**2, 1)[:, None] - 2 * own @ seen.T + np.sum(seen**2, 1)
    log_weights = -0.5 * square / task.noise_std**2
    most = log_weights.max(1, keepdims=True)
    weights = np.exp(log_weights - most)
    total = weights.sum(1)
    evidence = np.log(total / len(pool)) + most[:, 0]
    return Weighed(weights @ chance / total, total**2 / np.sum(weights**2, 1), evidence)


class Steered(NamedTuple):
    """What a guided sampler gives: `clips` (o, c, 256), their `path` (o, c, s), and whether each run was `finite`."""

    clips: Any
    path: Path
    finite: Any


def steered(
    sizes: Video,
    arm: str,
    number: float,
    law: Law,
    prior: Any,
    task: Task,
    y: Float[np.ndarray, "o m"],
    key: Key[Array, ""],
) -> Steered:
    """`sizes.draws` draws of a guided sampler given each of o observations, in one call.

    Args:
        arm: one of `guided_arms.RUNS`, with its grid and its options; of a filter, the draws of an observation are the
            particles of one run.
        number: the arm's own, ignored where it has none.
        law: the world's, by which paths are told.
    """
    keys = jax.random.split(key, (len(y), sizes.draws))
    given = (law, prior, task.operator, y.astype(np.float32), np.float32(task.noise_std), keys, np.float32(number))
    return jax.tree.map(np.asarray, _guided(*given, arm=arm, sizes=sizes))


@jax.jit(static_argnames=("arm", "sizes"))
def _guided(
    law: Any, prior: Any, operator: Any, y: Any, noise_std: Any, keys: Any, number: Any, *, arm: str, sizes: Video
) -> Steered:
    run, flow = guided_arms.RUNS[arm], velocity(sizes, prior)

    def one(key: Any, y: Any) -> Steered:
        first, key = jax.random.split(key)
        x = jax.random.normal(first, SHAPE)
        x = x if run.start is None else run.start(flow, operator, y, x)
        made = guided.run(
            run.method,
            flow,
            operator,
            y,
            noise_std,
            x,
            run.grid,
            key=key,
            record=Record(fn=_watched(law, operator, y, noise_std)),
            **run.options(number),
        )
        stats: Any = made.stats
        fine = jnp.all(stats["finite"]) & jnp.all(jnp.isfinite(made.final))
        return Steered(made.final.reshape(-1), stats["record"], fine)

    return jax.vmap(jax.vmap(one, (0, None), axis_name="seed"))(keys, y)

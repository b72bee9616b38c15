"""Trains the evaluator with which HumanML3D's protocol is computed for models of this house.

    python -m experiments.vimogen.evaluator           # four minutes of one core; writes the package's own weights

Captions and motions of S, C and V that never repeat, of a seed that no training of a model has, in all four paraphrases
and with noise on their joints: it must understand what a model is asked for, also where the model does not, and it has
seen nothing that a model made. Of the pairs of a batch each text is to find its motion, and each motion its text
(CLIP's loss); pairs of one script are equally right. The network is `vrjax.models.embedded.matcher`.
"""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from experiments.vimogen import recogniser
from vrjax.flow import draws
from vrjax.models.embedded import captions, matcher
from vrjax.motion import program
from vrjax.motion.program import verbs
from vrjax.study.sizes import positive

SEED = 8001  # neither a training's, nor the recogniser's, nor of the test motions
FRAMES, BATCH, STEPS, RATE = 60, 128, 1000, 2e-3
SHARPNESS, SHARPEST = 10.0, 100.0  # of the logits: at the start, and at most


class Weights(NamedTuple):
    """What is trained: the network, and the logarithm of how sharp its cosines are read."""

    network: Any
    sharpness: Float[Array, ""]


def loss(
    text: Float[Array, "b d"], motion: Float[Array, "b d"], same: Bool[Array, "b b"], sharpness: Float[Array, ""]
) -> Float[Array, ""]:
    """Mean of two cross entropies: which motion belongs to each text, and which text to each motion.

    Args:
        text, motion: features of length one, of one pair a row.
        same: whether two pairs say the same; symmetric, true on its diagonal. They share the target.
        sharpness: of the cosines.
    """
    logits, target = sharpness * text @ motion.T, same / same.sum(1, keepdims=True)
    entropy = lambda rows: -jnp.mean(jnp.sum(target * jax.nn.log_softmax(rows, axis=1), axis=1))
    return (entropy(logits) + entropy(logits.T)) / 2


def alike(script: program.Script) -> Bool[Array, "b b"]:
    """Which scripts, of `program.draw`, are one: what an action does not have is the same in all of them."""
    rows = jnp.stack(script, -1)
    return jnp.all(rows[:, None] == rows, axis=-1)


def example(key: Array, frames: int) -> tuple[program.Script, Array, Array]:
    """A script of any set, its caption as rows of text, and the joints of a noisy performance of it."""
    what, words = jax.random.split(key)
    script, joints = recogniser.example(what, frames)
    said = program.tokens(script, jax.random.randint(words, (), 0, verbs.PARAPHRASES))
    return script, captions.of_tokens(said, *matcher.TEXT), joints


def train(
    steps: int = STEPS,
    *,
    frames: int = FRAMES,
    batch: int = BATCH,
    seed: int = SEED,
    say: Callable[[str], Any] = print,
) -> matcher.Matcher:
    """A matcher of motions of so many frames, trained on pairs that never repeat; says its loss ten times."""
    graph, network = nnx.split(matcher.Matcher(nnx.Rngs(seed)))
    weights = Weights(network, jnp.asarray(np.log(SHARPNESS), jnp.float32))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(RATE, steps)))

    def error(weights: Weights, key: Array) -> Array:
        script, rows, joints = jax.vmap(lambda key: example(key, frames))(jax.random.split(key, batch))
        match = nnx.merge(graph, weights.network)
        sharpness = jnp.minimum(jnp.exp(weights.sharpness), SHARPEST)
        return loss(jax.vmap(match.text)(rows), jax.vmap(match.motion)(joints), alike(script), sharpness)

    def step(weights: Weights, moments: Any, number: Array) -> tuple[Any, Any, Array]:
        found, slope = jax.value_and_grad(error)(weights, jax.random.fold_in(draws.key(seed), number))
        updates, moments = tx.update(slope, moments)
        return optax.apply_updates(weights, updates), moments, found

    run, moments = jax.jit(step, donate_argnums=(0, 1)), tx.init(weights)
    for number in np.arange(steps):
        weights, moments, found = run(weights, moments, number)
        if (number + 1) % max(steps // 10, 1) == 0:
            say(f"update {number + 1} of {steps}: loss {float(found):.3f}")
    return nnx.merge(graph, weights.network)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.evaluator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=positive, default=STEPS, help="updates (%(default)s)")
    parser.add_argument("--to", type=pathlib.Path, default=matcher.FOLDER, help="(the package's own)")
    args = parser.parse_args(argv)
    made = {"seed": SEED, "updates": args.steps, "batch": BATCH, "frames": FRAMES, "jax": jax.__version__}
    matcher.save(train(args.steps), args.to, {name: str(value) for name, value in made.items()})


if __name__ == "__main__":
    main()

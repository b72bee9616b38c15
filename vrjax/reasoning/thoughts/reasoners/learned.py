"""A small learned next-state reasoner: a classifier from the states of a scene's elements to their next states.

    model = fit(before, after, symbols=18)                      # simulated or observed transitions, (n, elements) each
    model.accuracy                                              # on transitions it was not trained on
    reasoner = LearnedReasoner(model, language, keyframes=4)     # a `Reasoner` and an `Imager`
    think(prompt, reasoner, reasoner)

The classifier looks at each element through a window of its neighbours, with the same weights for every element, so it
learns local causes and effects from few transitions. A `Language` of the world turns states into captions and frames
and back; the reasoner itself knows no world. It errs where the classifier errs: it is the middle between an oracle and
noise.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from vrjax.flow import words
from vrjax.reasoning.thoughts.keyframes import FirstThought, NextThought


class Accuracy(NamedTuple):
    """How often the classifier is right on held-out transitions.

    Attributes:
        elements: share of elements whose next state is right.
        rows: share of transitions in which all are.
        changes: share of the transitions in which something changes whose whole next row is right; NaN if none does.
        still: share of elements that do not change, what a reasoner would get that says "nothing happens".
        n: held-out transitions.
    """

    elements: float
    rows: float
    changes: float
    still: float
    n: int

    __repr__ = words.line


class NextState(NamedTuple):
    """A trained classifier: `params` of its layers, numbers of `symbols`, the window's `reach`, held-out `accuracy`."""

    params: Any
    symbols: int
    reach: int
    accuracy: Accuracy

    __repr__ = words.line

    def __call__(self, rows: Int[np.ndarray, "*lead elements"]) -> Int[np.ndarray, "*lead elements"]:
        """The most probable next states.

        Raises:
            ValueError: a state that is none of 0 ... symbols - 1.
        """
        rows = _states(rows, self.symbols, "rows")
        windows = _windows(rows.reshape(-1, rows.shape[-1]), self.symbols, self.reach)
        logits = jax.device_get(_run(self.params, jnp.asarray(windows)))
        return logits.argmax(-1).reshape(rows.shape)


def fit(
    before: Int[np.ndarray, "n elements"],
    after: Int[np.ndarray, "n elements"],
    *,
    symbols: int,
    reach: int = 2,
    width: int = 64,
    steps: int = 600,
    batch: int = 256,
    lr: float = 5e-3,
    held_out: float = 0.2,
    seed: int = 0,
) -> NextState:
    """Trains the classifier by cross-entropy with AdamW.

    Args:
        before, after: states of all elements, 0 ... symbols - 1, now and one step later.
        symbols: how many states there are, over all kinds of elements.
        reach: neighbours on each side that an element's next state may depend on.
        width: of the two hidden layers.
        steps, batch, lr: updates, transitions in each, and the learning rate, which falls to 0 by a cosine.
        held_out: share of the transitions kept for `accuracy`; equal rows before are kept together, so that none of
            them was trained on.
        seed: of the first weights, the batches and what is held out.

    Raises:
        ValueError: shapes or numbers that do not fit, states that are none, or too few different rows to hold any out.
    """
    before, after = _states(before, symbols, "before"), _states(after, symbols, "after")
    if before.ndim != 2 or before.shape != after.shape:
        raise ValueError(f"fit: before {before.shape} and after {after.shape}, expected one shape (n, elements)")
    if reach < 0 or width < 1 or steps < 1 or batch < 1 or not 0.0 < held_out < 1.0:
        raise ValueError(
            f"fit: reach {reach}, width {width}, steps {steps}, batch {batch}, held_out {held_out}: expected reach 0 "
            "or more, the others 1 or more, and a share between 0 and 1"
        )
    rng = np.random.default_rng(seed)
    _, scene = np.unique(before, axis=0, return_inverse=True)
    scene = scene.reshape(-1)
    kinds = int(scene.max()) + 1
    kept = rng.permutation(kinds)[: round(held_out * kinds)]
    if not 0 < len(kept) < kinds:
        raise ValueError(f"fit: {kinds} different rows, too few to hold out a share of {held_out}")
    test = np.isin(scene, kept)
    inputs, targets = _windows(before[~test], symbols, reach), after[~test]
    params = _train(inputs, targets, symbols, width, steps, batch, lr, seed)
    model = NextState(params, symbols, reach, Accuracy(0.0, 0.0, 0.0, 0.0, 0))
    return model._replace(accuracy=_measure(model, before[test], after[test]))


@runtime_checkable
class Language(Protocol):
    """What a world says about states: rows of `elements` whole numbers."""

    def parse(self, text: str) -> np.ndarray:
        """The row that a caption, or a prompt that tells the first state, names."""
        ...

    def describe(self, row: np.ndarray) -> str:
        """The caption of a row; `parse` undoes it."""
        ...

    def read(self, frame: np.ndarray) -> np.ndarray:
        """The row that a frame, uint8 (h, w, 3), shows."""
        ...

    def draw(self, row: np.ndarray) -> np.ndarray:
        """The frame of a row; `read` undoes it."""
        ...


class LearnedReasoner:
    """Rolls a scene on with a classifier: a `Reasoner` and an `Imager`, for any prompt that the language can parse.

    Args:
        model: from `fit`; any function of a row will do.
        language: of the world.
        keyframes: most keyframes, the first included. They are spread evenly over the steps that the classifier needs
            to come to rest.
        limit: most steps that are looked ahead, for a classifier that never rests.

    Raises:
        ValueError: fewer than one keyframe or step.
    """

    def __init__(self, model: Any, language: Language, *, keyframes: int = 4, limit: int = 16):
        if keyframes < 1 or limit < 1:
            raise ValueError(f"learned reasoner: keyframes {keyframes} and limit {limit}, expected 1 or more of each")
        self.model, self.language, self.keyframes, self.limit = model, language, keyframes, limit

    def first(self, prompt: str) -> FirstThought:
        """The prompt's own scene; its consequences are the row in which the classifier comes to rest."""
        row = self.language.parse(prompt)
        text = self.language.describe(row)
        ahead = self._ahead(row)
        return FirstThought("", self.language.describe(ahead[-1]), text, text)

    def next(self, prompt: str, consequences: str, frames: Sequence[np.ndarray]) -> NextThought:
        """The state some steps after the last frame; "" and last where nothing changes any more."""
        ahead = self._ahead(self.language.read(frames[-1]))
        left = self.keyframes - len(frames)
        if len(ahead) == 1 or left < 1:
            return NextThought("", True)
        steps = max(1, round((len(ahead) - 1) / left))
        return NextThought(self.language.describe(ahead[steps]), left == 1 or steps == len(ahead) - 1)

    def generate(self, text: str) -> np.ndarray:
        """The frame of the row that the text names."""
        return self.language.draw(self.language.parse(text))

    def edit(self, frames: Sequence[np.ndarray], instruction: str) -> np.ndarray:
        """The frame of the row that the instruction names."""
        return self.language.draw(self.language.parse(instruction))

    def _ahead(self, row: np.ndarray) -> list[np.ndarray]:
        """The row and those that follow, until nothing changes."""
        rows = [np.asarray(row)]
        while len(rows) <= self.limit:
            after = np.asarray(self.model(rows[-1]))
            if np.array_equal(after, rows[-1]):
                break
            rows.append(after)
        return rows


# ------------------------------------------------------------------------------------------------------ the classifier


def _states(rows: Any, symbols: int, what: str) -> np.ndarray:
    rows = np.asarray(rows)
    if not rows.size or not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() >= symbols:
        raise ValueError(f"{what}: expected states 0 ... {symbols - 1}, found {rows.dtype} {rows.shape} with others")
    return rows


def _windows(rows: np.ndarray, symbols: int, reach: int) -> Float[np.ndarray, "n elements features"]:
    """One-hot states of each element and its neighbours; a further symbol stands for "outside"."""
    padded = np.pad(rows, ((0, 0), (reach, reach)), constant_values=symbols)
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)
    onehot = np.eye(symbols + 1, dtype=np.float32)[near]
    return onehot.reshape(*near.shape[:2], -1)


def _net(params: Any, x: Array) -> Array:
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = params[-1]
    return x @ weight + bias


_run = jax.jit(_net)


def _train(
    inputs: np.ndarray, targets: np.ndarray, symbols: int, width: int, steps: int, batch: int, lr: float, seed: int
) -> Any:
    sizes = (inputs.shape[-1], width, width, symbols)
    keys = jax.random.split(jax.random.key(seed), len(sizes))
    pairs = zip(sizes[:-1], sizes[1:], keys[1:], strict=True)
    params = [(jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b)) for a, b, k in pairs]
    tx = optax.adamw(optax.cosine_decay_schedule(lr, steps), weight_decay=1e-3)

    def loss(params: Any, chosen: Array, x: Array, y: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(_net(params, x[chosen]), y[chosen]).mean()

    @jax.jit
    def run(params: Any, x: Array, y: Array) -> Any:
        def step(carry: Any, key: Array) -> tuple[Any, None]:
            params, state = carry
            chosen = jax.random.randint(key, (batch,), 0, len(x))
            updates, state = tx.update(jax.grad(loss)(params, chosen, x, y), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(keys[0], steps))[0][0]

    return jax.device_get(run(params, jnp.asarray(inputs), jnp.asarray(targets)))


def _measure(model: NextState, before: np.ndarray, after: np.ndarray) -> Accuracy:
    right = model(before) == after
    moving = (before != after).any(1)
    rows = right.all(1)
    return Accuracy(
        float(right.mean()),
        float(rows.mean()),
        float(rows[moving].mean()) if moving.any() else float("nan"),
        float((before == after).mean()),
        len(before),
    )


REASONER = IMAGER = LearnedReasoner

"""Linear probes in closed form: which block knows what, at which sampling step.

A probe is ridge regression from a token's features to one-hot targets, read by argmax, and its figure is balanced
accuracy on instances it was not fitted on. Features [steps, blocks, tokens, dim] exist only inside the compiled
program: they are folded into sufficient statistics (`Moments`, dim x dim per site) as they are made, so 40 blocks x 50
steps need no disk.

    def features(dit, c):                # the model is an argument: models of one shape share the compiled programs
        velocity = dit.velocity(c.text, c.image, taps={"block.*": lambda h: h})
        return sample(velocity, c.noise, grid, record=Record(fields=())).taps["block.*"]

    result = fit(features, dit, instances, {"wall": walls, "next": cells}, split(len(walls), seed=0))
    result["next"].accuracy          # [steps, blocks], beside .control [steps, blocks] and .chance

**Labels** are whole numbers [instances, tokens], -1 where a token is irrelevant (masked). A target of the whole clip is
put on every token, or on one token of pooled features.

**Controls.** `chance` is the balanced accuracy of the majority class, 1 / classes. `control` is the same probe fitted
and scored on labels that were exchanged between instances (Hewitt and Liang 2019): it keeps what a token's *place* says
about its label, so only accuracy above it was read from the instance. Whether the network *uses* what a probe reads is
another question: see the swaps and ablations in `vrjax.reasoning.instruments.layers`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vrjax.flow import words

Features = Callable[[Any, Any], Array]
"""(parameters of the model, one instance) -> [*site, tokens, dim]."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


class Split(NamedTuple):
    """Instance numbers of the three parts; no instance is in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    __repr__ = words.line


class Moments(NamedTuple):
    """Weighted first and second moments of features and one-hot targets, per site; sums are about the means.

    Kept centred and merged by the pairwise update (Chan et al. 1983), because residual streams have means far above
    their spread, which sums of squares in float32 would lose.
    """

    weight: Float[Array, ""]
    x: Float[Array, "*site dim"]
    y: Float[Array, " classes"]
    xx: Float[Array, "*site dim dim"]
    xy: Float[Array, "*site dim classes"]

    __repr__ = words.line


class Probe(NamedTuple):
    """Scores of a token are `features @ weight + bias`; the largest wins. A leading axis may hold several penalties."""

    weight: Float[Array, "*site dim classes"]
    bias: Float[Array, "*site classes"]

    __repr__ = words.line


class Result(NamedTuple):
    """A fitted target.

    Attributes:
        accuracy: balanced accuracy on test instances, [*site] (steps x blocks).
        control: the same with labels exchanged between instances, [*site].
        chance: of guessing the majority class: 1 / classes present in the test labels.
        penalty: the ridge penalty chosen on validation instances, [*site].
        confusion: test counts per instance, [instances, *site, true, predicted], for intervals over instances.
        probe: weights and bias at the chosen penalty.
    """

    accuracy: np.ndarray
    control: np.ndarray
    chance: float
    penalty: np.ndarray
    confusion: np.ndarray
    probe: Probe

    __repr__ = words.line


def split(
    instances: int, *, seed: int, fractions: tuple[float, float] = (0.6, 0.2), groups: np.ndarray | None = None
) -> Split:
    """Instances cut at random into train, validation and test.

    Args:
        instances: how many.
        seed: of the shuffle.
        fractions: shares of train and validation; the rest is test.
        groups: [instances] labels (a maze layout); a group stays together, so the shares hold for groups.

    Raises:
        ValueError: a part would be empty.
    """
    labels = np.arange(instances) if groups is None else np.asarray(groups)
    if labels.shape != (instances,):
        raise ValueError(f"groups: expected one label for each of {instances} instances, found shape {labels.shape}")
    names, place = np.unique(labels, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    a = round(fractions[0] * len(names))
    b = a + round(fractions[1] * len(names))
    parts = [np.flatnonzero(np.isin(place, part)) for part in (order[:a], order[a:b], order[b:])]
    if min(map(len, parts)) == 0:
        raise ValueError(
            f"split: {len(names)} groups cannot be cut into shares {fractions} and the rest, all non-empty"
        )
    return Split(*parts)


def balance(labels: Int[np.ndarray, "instances tokens"], classes: int) -> Float[np.ndarray, " classes"]:
    """Weight of a token of each class such that all classes weigh alike and the mean weight is 1; 0 for absent classes.

    Without it ridge regression on rare classes (one agent among 25 cells) predicts the majority everywhere.
    """
    counts = np.bincount(labels[labels >= 0].ravel(), minlength=classes).astype(np.float64)
    present = counts > 0
    return np.where(present, counts.sum() / np.maximum(counts, 1) / max(1, present.sum()), 0.0).astype(np.float32)


# -------------------------------------------------------------------------------------------------------- statistics


def moments(
    features: Float[Array, "*site tokens dim"], labels: Int[Array, " tokens"], class_weight: Float[Array, " classes"]
) -> Moments:
    """Moments of one instance. Tokens labelled -1 count nothing."""
    classes = class_weight.shape[0]
    targets = jax.nn.one_hot(labels, classes)  # a row of zeros for -1
    w = targets @ class_weight
    total = w.sum()
    share = w / jnp.maximum(total, jnp.finfo(w.dtype).tiny)
    f = features.astype(jnp.float32)
    x, y = jnp.einsum("...nd,n->...d", f, share), share @ targets
    centred = (f - x[..., None, :]) * w[:, None]
    with jax.default_matmul_precision("highest"):
        xx = jnp.einsum("...nd,...ne->...de", centred, f - x[..., None, :])
        xy = jnp.einsum("...nd,nc->...dc", centred, targets - y)
    return Moments(total, x, y, xx, xy)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of both samples together. Associative up to rounding: chunks, devices, hosts may merge in any order."""
    weight = a.weight + b.weight
    part = b.weight / jnp.maximum(weight, jnp.finfo(weight.dtype).tiny)
    dx, dy = b.x - a.x, b.y - a.y
    factor = a.weight * part
    xx = a.xx + b.xx + factor * dx[..., :, None] * dx[..., None, :]
    xy = a.xy + b.xy + factor * dx[..., :, None] * dy
    return Moments(weight, a.x + part * dx, a.y + part * dy, xx, xy)


def ridge(m: Any, penalties: Any) -> Probe:
    """Ridge regression of the one-hot targets for every penalty, from one eigendecomposition per site.

    On the host, in float64. (Inside a compiled program, two of LAPACK's batched kernels at once can deadlock on two
    cores: each waits in a pool thread for pool threads.)

    Features are standardised by their weighted spread, so a penalty of 1 weighs as much as the data: it minimises
    mean |y - x w - b|^2 + penalty |w|^2 over standardised x, the bias unpenalised. Constant features get weight 0.

    Returns:
        Probe in the units of the raw features, with a leading axis of penalties.
    """
    total, mean_x, mean_y, xx, xy = (np.asarray(a, np.float64) for a in m)
    weight = np.maximum(total, np.finfo(np.float64).tiny)
    spread = np.sqrt(np.maximum(np.diagonal(xx, axis1=-2, axis2=-1), 0.0) / weight)
    floor = 1e-6 * spread.max(axis=-1, keepdims=True)
    inverse = np.where(spread > floor, 1 / np.where(spread > floor, spread, 1.0), 0.0)
    covariance = xx / weight * inverse[..., :, None] * inverse[..., None, :]
    values, vectors = np.linalg.eigh(covariance)
    toward = np.einsum("...de,...dc->...ec", vectors, xy / weight * inverse[..., None])
    lam = np.asarray(penalties, np.float64).reshape(-1, *[1] * values.ndim)
    shrunk = toward / (np.maximum(values, 0.0) + lam)[..., None]
    w = np.einsum("...de,p...ec->p...dc", vectors, shrunk) * inverse[..., None]
    b = mean_y - np.einsum("...d,p...dc->p...c", mean_x, w)
    return Probe(jnp.asarray(w, jnp.float32), jnp.asarray(b, jnp.float32))


def confusion(
    probe: Probe, features: Float[Array, "*site tokens dim"], labels: Int[Array, " tokens"]
) -> Float[Array, "*probe classes classes"]:
    """Counts [(penalties,) *site, true class, predicted class] of one instance; tokens labelled -1 count nothing."""
    classes = probe.bias.shape[-1]
    f = features.astype(jnp.float32)
    # About the middle of the tokens: features far from 0 would drown the scores' differences in rounding.
    middle = f.mean(axis=-2, keepdims=True)
    with jax.default_matmul_precision("highest"):
        scores = (f - middle) @ probe.weight + (middle @ probe.weight + probe.bias[..., None, :])
    predicted = jax.nn.one_hot(jnp.argmax(scores, axis=-1), classes)
    return jnp.einsum("nt,...np->...tp", jax.nn.one_hot(labels, classes), predicted)


def balanced_accuracy(counts: Float[np.ndarray, "*site true predicted"]) -> np.ndarray:
    """Mean recall over the classes that occur; NaN where none does. Of summed counts, not a mean over instances."""
    counts = np.asarray(counts, np.float64)
    total = counts.sum(axis=-1)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    recall = np.divide(right, total, out=np.zeros_like(right), where=total > 0)
    present = (total > 0).sum(axis=-1)
    return np.divide(recall.sum(-1), present, out=np.full(present.shape, np.nan), where=present > 0)


# --------------------------------------------------------------------------------------------------------------- fit


def _chunks(tree: Any, count: int, group: int) -> tuple[Any, np.ndarray]:
    """Instances as [chunks, group, ...]; the last chunk is filled up with the first instance, marked as not real."""
    chunks = -(-count // group)
    index = np.arange(chunks * group)
    real = (index < count).reshape(chunks, group)
    index = np.where(index < count, index, 0).reshape(chunks, group)
    return jax.tree.map(lambda a: jnp.asarray(a)[index], tree), real


@functools.partial(jax.jit, static_argnames=("features", "group"))
def accumulate(
    features: Features, params: Any, instances: Any, labels: Mapping[str, Any], weights: Mapping[str, Any], *, group=1
) -> dict[str, Moments]:
    """Moments of every target over all instances, each instance's features computed once and dropped.

    Args:
        features: (params, one instance) -> [*site, tokens, dim]; traced, `group` instances side by side. It is the
            key of the compiled program, so it must be one function, not one anew for every call.
        params: of the model, any pytree.
        instances: pytree of arrays with a leading axis of instances.
        labels: {target: [instances, tokens]}, -1 where irrelevant.
        weights: {target: [classes]}, see `balance`.
    """
    count = len(next(iter(labels.values())))
    (inputs, marks), real = _chunks((instances, dict(labels)), count, group)

    def one(instance, marks, real):
        f = features(params, instance)
        return {t: moments(f, jnp.where(real, marks[t], -1), jnp.asarray(weights[t])) for t in marks}

    def add(carry, several):
        return {t: merge(carry[t], several[t]) for t in carry}, None

    def body(carry, chunk):
        return jax.lax.scan(add, carry, jax.vmap(one)(*chunk))[0], None

    start = jax.eval_shape(one, *jax.tree.map(lambda a: a[0, 0], (inputs, marks, jnp.asarray(real))))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), start)
    return jax.lax.scan(body, zeros, (inputs, marks, jnp.asarray(real)))[0]


@functools.partial(jax.jit, static_argnames=("features", "group"))
def score(
    features: Features, params: Any, instances: Any, labels: Mapping[str, Any], probes: Mapping[str, Probe], *, group=1
) -> dict[str, Array]:
    """Confusion counts of every target per instance: {target: [instances, (penalties,) *site, true, predicted]}."""
    count = len(next(iter(labels.values())))
    (inputs, marks), _ = _chunks((instances, dict(labels)), count, group)

    def one(chunk):
        instance, marks = chunk
        f = features(params, instance)
        return {t: confusion(probes[t], f, marks[t]) for t in marks}

    counts = jax.lax.map(jax.vmap(one), (inputs, marks))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], counts)


def exchange(labels: Int[np.ndarray, "instances tokens"], seed: int) -> Int[np.ndarray, "instances tokens"]:
    """Control labels: whole rows exchanged between instances, none of at least two keeping its own."""
    order = np.random.default_rng(seed).permutation(len(labels))
    out = np.empty_like(labels)
    out[order] = labels[np.roll(order, 1)]
    return out


def fit(
    features: Features,
    params: Any,
    instances: Any,
    labels: Mapping[str, Any],
    parts: Split,
    *,
    classes: Mapping[str, int] | None = None,
    penalties: tuple[float, ...] = PENALTIES,
    group: int = 1,
    seed: int = 0,
) -> dict[str, Result]:
    """Fits, chooses and tests the probes of several targets and their controls in three passes over the instances.

    The penalty is chosen per site by balanced accuracy on the validation instances (the larger one among equals), for a
    target and for its control alike. Labels are exchanged within each part, so no test label reaches the fit.

    Args:
        features: (params, one instance) -> [*site, tokens, dim]; calls with one `features` share compiled programs.
        params: of the model, any pytree: an argument of the programs, not a constant in them.
        instances: pytree of arrays with a leading axis of instances.
        labels: {target: [instances, tokens]} whole numbers, -1 where irrelevant.
        parts: see `split`.
        classes: {target: number}; by default the largest label + 1.
        penalties: rising.
        group: instances computed side by side.
        seed: of the exchanged labels.

    Returns:
        {target: Result}.

    Raises:
        ValueError: labels whose shape or range does not fit, parts that overlap, a target without labels in a part.
    """
    labels = {t: np.asarray(a) for t, a in labels.items()}
    sizes = {t: int(a.max()) + 1 for t, a in labels.items()} if classes is None else dict(classes)
    _check(labels, sizes, parts, {len(a) for a in jax.tree.leaves(instances)})
    marks = dict(labels)
    for t in labels:
        mixed = labels[t].copy()
        for part in parts:
            mixed[part] = exchange(labels[t][part], seed)
        marks[f"{t}\0control"] = mixed  # a name no target can have
    weights = {t: balance(a[parts.train], sizes[t.split("\0")[0]]) for t, a in marks.items()}
    lam = jnp.asarray(sorted(penalties), jnp.float32)
    pick = lambda rows: (params, jax.tree.map(lambda a: a[rows], instances), {t: a[rows] for t, a in marks.items()})
    found = accumulate(features, *pick(parts.train), weights, group=group)
    probes = {t: ridge(m, lam) for t, m in found.items()}
    seen = score(features, *pick(parts.validation), probes, group=group)
    best = {t: balanced_accuracy(np.asarray(a).sum(0)) for t, a in seen.items()}
    # argmax takes the first of equals: turn the penalties around to prefer the larger.
    chosen = {t: len(lam) - 1 - np.argmax(a[::-1], axis=0) for t, a in best.items()}
    final = {t: jax.tree.map(lambda a, t=t: _select(a, chosen[t]), p) for t, p in probes.items()}
    counts = {t: np.asarray(a) for t, a in score(features, *pick(parts.test), final, group=group).items()}

    results = {}
    for t in labels:
        whole = counts[t].sum(0)
        present = (whole.reshape(-1, sizes[t], sizes[t])[0].sum(-1) > 0).sum()
        results[t] = Result(
            accuracy=balanced_accuracy(whole),
            control=balanced_accuracy(counts[f"{t}\0control"].sum(0)),
            chance=1.0 / float(present),
            penalty=np.asarray(lam)[chosen[t]],
            confusion=counts[t],
            probe=final[t],
        )
    return results


def _select(a: Array, index: np.ndarray) -> Array:
    """[penalties, *site, ...] at one penalty per site."""
    return jnp.take_along_axis(a, jnp.asarray(index).reshape(1, *index.shape, *[1] * (a.ndim - 1 - index.ndim)), 0)[0]


def _check(labels: Mapping[str, np.ndarray], sizes: Mapping[str, int], parts: Split, lengths: set[int]) -> None:
    for t, a in labels.items():
        if a.ndim != 2 or not np.issubdtype(a.dtype, np.integer) or {len(a)} != lengths:
            raise ValueError(f"labels {t!r}: expected whole numbers [{lengths}, tokens], found {a.dtype} {a.shape}")
        if a.min() < -1 or a.max() >= sizes[t]:
            raise ValueError(f"labels {t!r}: expected -1..{sizes[t] - 1}, found {a.min()}..{a.max()}")
        for name, part in zip(Split._fields, parts, strict=True):
            if len(part) < 2 or not (a[part] >= 0).any():
                raise ValueError(f"labels {t!r}: expected 2 {name} instances or more, and a label above -1 among them")
    every = np.concatenate(parts)
    if len(np.unique(every)) != len(every):
        raise ValueError("parts: an instance stands in two of train, validation and test")

"""The preference step: measured errors, references that must agree, sharding, accumulation. Few programs, one model."""

import dataclasses
import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from vrjax import parallel
from vrjax.align import errors, losses, references, step, stored
from vrjax.align.config import Preference, Reference, Rollout
from vrjax.flow import Level
from vrjax.train import objectives, update
from vrjax.train import state as states
from vrjax.train.config import Lora, Optim
from vrjax.train.state import batch_sharding

LORA = Lora(rank=2, patterns=(r"ffn_.*kernel$",))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save_base(tmp_path_factory.mktemp("base") / "model")


def prepared(config):
    mesh = parallel.run_mesh(config.mesh)
    network, *made = states.make(config, mesh)
    state, shardings = step.extended(config, *made)
    update = step.make(network, mesh, shardings)
    key = jax.device_put(states.run_key(config, states.STEP), shardings.step)
    put = lambda batch: jax.device_put(batch, batch_sharding(config, mesh))
    return network, state, update, put, key


def run(config, batch, updates=2):
    """States (as NumPy) and metrics of the first updates."""
    network, state, update, put, key = prepared(config)
    out = []
    for _ in range(updates):
        state, metrics = update(state, network.base, put(batch), key)
        out.append(jax.device_get((state, metrics)))
    return out


def close(found, expected, atol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), found, expected)


@pytest.fixture(scope="module")
def plain(base):
    """Two updates of plain DPO on one device."""
    return run(tiny.align(start=base), tiny.batch())


def test_another_batch_and_other_numbers_are_the_same_program():
    config = tiny.align(reference=Reference(kind="ema"))
    mesh, key = parallel.run_mesh(config.mesh), states.run_key(config, states.STEP)
    network, *made = states.make(config, mesh)
    current, shardings = step.extended(config, *made)
    body = chex.assert_max_traces(step.body(network, mesh), n=1)
    run = jax.jit(body, out_shardings=(shardings, shardings.step))
    for seed, beta in ((0, 20.0), (1, 5.0)):
        batch = jax.device_put(tiny.batch(seed=seed), batch_sharding(config, mesh))
        current, _ = run(current, network.base, batch, key, {"preference.beta": beta})


# ------------------------------------------------------------------------------------------------------ the primitive


def velocity(x, level):
    return jnp.sin(3 * x) * level.sigma + 0.2


def test_the_error_of_v_is_the_weighted_error_of_x0():
    """mean((v - (eps - x0))^2) = mean((x0_hat - x0)^2) / sigma^2, in float64 NumPy."""
    rng = np.random.default_rng(0)
    win, lose, noise = rng.normal(size=(4, 6)), rng.normal(size=(2, 4, 6)), rng.normal(size=(4, 6))
    sigma = 0.37
    cast = lambda a: jnp.asarray(a, jnp.float32)
    found = errors.pair_errors(velocity, cast(win), cast(lose), cast(noise), Level(cast(sigma), cast(370.0)))
    for x0, value in zip([win, *lose], [found.win, *found.lose], strict=True):
        x = (1 - sigma) * x0 + sigma * noise
        v = np.sin(3 * x) * sigma + 0.2
        x0_hat = x - sigma * v
        np.testing.assert_allclose(value, np.mean((x0_hat - x0) ** 2) / sigma**2, rtol=1e-5)


def test_losers_in_one_call_equal_a_loop_and_the_winner_is_asked_once():
    """Released code's defect 4: the winner's forward was repeated for every loser."""
    calls = []

    def counted(x, level):
        jax.debug.callback(lambda x: calls.append(x.shape), x)
        return velocity(x, level)

    rng = np.random.default_rng(1)
    win, lose, noise = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in [(4,), (3, 4), (4,)])
    level = Level(jnp.float32(0.6), jnp.float32(600))
    masks = jnp.asarray([[1.0, 1, 0, 0], [0, 0, 0, 2]])
    found = errors.pair_errors(counted, win, lose, noise, level, masks=masks)
    jax.effects_barrier()
    assert len(calls) == 1 + 3  # the network's evaluations: the winner once, and no more for the masks
    for n in range(3):
        one = errors.pair_errors(velocity, win, lose[n : n + 1], noise, level)
        np.testing.assert_allclose(found.win, one.win, atol=1e-6)
        np.testing.assert_allclose(found.lose[n], one.lose[0], atol=1e-6)
    first = errors.pair_errors(velocity, win[:2], lose[:, :2], noise[:2], level)
    np.testing.assert_allclose(found.win_parts[0], first.win, atol=1e-6)
    np.testing.assert_allclose(found.lose_parts[:, 0], first.lose, atol=1e-6)
    last = objectives.flow_error(velocity, win[3:], noise[3:], level)
    np.testing.assert_allclose(found.win_parts[1], last, atol=1e-6)


def test_independent_noise_is_one_noise_each():
    rng = np.random.default_rng(2)
    win, lose, noise = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in [(4,), (2, 4), (3, 4)])
    level = Level(jnp.float32(0.6), jnp.float32(600))
    found = errors.pair_errors(velocity, win, lose, noise, level)
    alone = errors.pair_errors(velocity, lose[1], None, noise[2], level)
    np.testing.assert_allclose(found.lose[1], alone.win, atol=1e-6)
    assert alone.lose.shape == (0,)
    with pytest.raises(ValueError, match=r"noise has shape \(2, 4\), expected \(4,\) or \(3, 4\)"):
        errors.pair_errors(velocity, win, lose, noise[:2], level)
    with pytest.raises(ValueError, match=r"losers have shape \(2, 3\), expected \(losers, 4,\)"):
        errors.pair_errors(velocity, win, lose[:, :3], noise, level)


# ----------------------------------------------------------------------------------------------------------- the step


def test_the_first_update_of_dpo(plain):
    (one, first), (two, second) = plain
    # The margin of equal policies is beta = 20 times a rounding, and half of it the loss's.
    np.testing.assert_allclose(first["loss"] + first["margin"] / 2, math.log(2), atol=1e-6)
    assert abs(first["margin"]) < 1e-5 and abs(first["win_gap"]) < 1e-6 and abs(first["lose_gap"]) < 1e-6
    np.testing.assert_allclose(first["win_error"], first["reference_win_error"], atol=1e-6)
    assert one.step == 1 and two.step == 2
    # at this learning rate the second update sees a policy that has moved the right way
    assert second["loss"] < first["loss"] - 1e-3 and second["accuracy"] > 0.6
    assert second["margin"] == pytest.approx(10 * (second["lose_gap"] - second["win_gap"]), rel=1e-3)
    counts = [first[f"count_bin{i}"] for i in range(2)]
    assert sum(counts) == 8
    mean = sum(c * first[f"win_error_bin{i}"] for i, c in enumerate(counts)) / 8
    np.testing.assert_allclose(mean, first["win_error"], rtol=1e-5)
    assert all(np.isfinite(v) for v in first.values())
    jax.tree.map(np.testing.assert_array_equal, one.reference, two.reference)
    assert second["reference_distance"] > first["reference_distance"] > 0
    assert two.ema == {} and two.best is two.params  # by default what is exported is the policy: no average is kept


def test_the_gradient_is_that_of_the_formula(base):
    """At policy = reference the gradient is (beta / 4) grad(win - mean lose): a step lowers win - lose."""
    config = tiny.align(start=base)
    network, state, _, put, key = prepared(config)
    batch, drawn = step.draw(config, None, key, put(tiny.batch()))
    reference = references.frozen()

    def both(params):
        loss = step.pair_loss(network, reference, params, {})
        _, _, grad = update.gradient(loss, params, (batch, drawn))
        difference = lambda p: (lambda e: jnp.mean(e.win - jnp.mean(e.lose, -1)))(
            step.batch_errors(network.build(p, {}), batch, drawn)
        )
        return grad, jax.grad(difference)(params)

    grad, expected = jax.jit(both)(state.params)
    close(grad, jax.tree.map(lambda g: 20.0 / 4 * g, expected), 1e-5)
    assert min(float(jnp.abs(g).max()) for g in jax.tree.leaves(grad)) > 0


def test_accumulation_equals_the_big_batch(base, plain):
    (one, first), _ = run(tiny.align(start=base, accumulate=4), tiny.batch())
    for name, value in plain[0][1].items():
        np.testing.assert_allclose(first[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    # Adam divides by the size of a gradient: its sign is all that is left of very small ones
    flat = lambda tree: np.concatenate([x.ravel() for x in jax.tree.leaves(tree)])
    difference = np.abs(flat(one.params) - flat(plain[0][0].params))
    assert np.quantile(difference, 0.99) < 1e-5


# Small steps: the few weights that rounding moves another way (see `tiny.same_updates`) then change nothing else.
SMALL = Optim(kind="adamw", lr=1e-4, warmup=0, final=1.0)


@pytest.fixture(scope="module")
def small(base):
    """Two small updates of plain DPO on one device."""
    return run(tiny.align(start=base, optim=SMALL), tiny.batch(seed=3))


@pytest.mark.parametrize(
    ("mesh", "sequence"),
    [({"data": 4, "fsdp": 2}, "auto"), ({"data": 2, "context": 2, "tensor": 2}, "ring")],
    ids=["fsdp", "ring and tensor"],
)
def test_eight_devices_equal_one(base, small, mesh, sequence):
    model = dataclasses.replace(tiny.MODEL, sequence=sequence)
    found = run(tiny.align(start=base, mesh=mesh, model=model, optim=SMALL), tiny.batch(seed=3))
    tiny.same_updates([state for state, _ in found], [state for state, _ in small])
    for (state, metrics), (expected, expected_metrics) in zip(found, small, strict=True):
        for name, value in expected_metrics.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
        close(state.reference, expected.reference, 0)


def test_the_state_is_sharded_and_donated(base):
    config = tiny.align(start=base, mesh={"data": 4, "fsdp": 2})
    network, state, update, put, key = prepared(config)
    kernel = state.reference["blocks"]["ffn_in"]["kernel"]
    assert kernel.sharding == state.params["blocks"]["ffn_in"]["kernel"].sharding
    assert kernel.sharding.shard_shape(kernel.shape)[1] == kernel.shape[1] // 2
    update(state, network.base, put(tiny.batch()), key)
    assert all(x.is_deleted() for x in jax.tree.leaves(state.reference) + jax.tree.leaves(state.params))


# --------------------------------------------------------------------------------------------------------- references


def test_live_adapter_off_and_stored_references_agree(base):
    """One LoRA run, three references on one bank of draws: equal losses and equal weights."""
    spec = {"start": base, "lora": LORA}
    bank = lambda kind: Reference(kind=kind, draws=3)
    live = tiny.align(**spec, reference=bank("frozen"))
    network, state, _, put, _ = prepared(live)
    rows = tiny.batch()
    tables = stored.tables(network, step.make_bank(live), state.params, network.base, [put(rows)], 8)
    assert tables["reference_win"].shape == (8, 3) and tables["reference_lose"].shape == (8, 3, 2)
    assert np.ptp(tables["reference_win"], axis=1).min() > 1e-3  # the draws differ
    expected = run(live, rows)
    off = run(tiny.align(**spec, reference=bank("lora_off")), rows)
    known = run(tiny.align(**spec, reference=bank("precomputed")), rows | tables)
    for other in (off, known):
        for (state, metrics), (wanted, wanted_metrics) in zip(other, expected, strict=True):
            for name in (
                "win_error",
                "lose_error",
                "reference_win_error",
                "reference_lose_error",
                "win_gap",
                "lose_gap",
            ):
                np.testing.assert_allclose(metrics[name], wanted_metrics[name], atol=1e-6, err_msg=name)
            np.testing.assert_allclose(metrics["loss"], wanted_metrics["loss"], atol=2e-6)
            close(state.params, wanted.params, 1e-5)
    assert not jax.tree.leaves(off[0][0].reference) and "reference" not in off[0][0].trees()
    with pytest.raises(ValueError, match="1 of 9 pairs were not measured, first 8"):
        stored.tables(network, step.make_bank(live), state.params, network.base, [put(rows)], 9)


def test_a_slow_average_moves_in_float32_under_bfloat16_weights():
    """An update of a thousandth of the distance is lost to bfloat16's 8 bits, and must not be."""
    params = {"w": jnp.full(4, 1.0, jnp.bfloat16)}
    reference = references.ema(decay=0.999, every=2)
    state = reference.init(params)
    moved = {"w": jnp.full(4, 1.5, jnp.bfloat16)}
    update = jax.jit(reference.update)
    assert state["w"].dtype == jnp.float32
    same = update(state, moved, 0)  # after the first update: not due
    np.testing.assert_array_equal(same["w"], state["w"])
    after = update(state, moved, 1)
    np.testing.assert_allclose(after["w"], 1.0005, rtol=1e-6)
    lost = jnp.bfloat16(0.999) * params["w"] + jnp.bfloat16(0.001) * moved["w"]
    assert np.all(np.asarray(lost, np.float32) == 1.0)  # what the released code's copy in bfloat16 does


def test_sync_moves_most_of_the_way_and_a_rate_of_one_copies():
    params, state = {"w": jnp.float32(2.0)}, {"w": jnp.float32(1.0)}
    np.testing.assert_allclose(references.sync(0.6, 3).update(state, params, 2)["w"], 1.6, rtol=1e-6)
    assert references.sync(1.0, 1).update(state, params, 0)["w"] == 2.0


@pytest.mark.parametrize(("rate", "every"), [(0.001, 100), (0.1, 10), (0.3, 20), (1.0, 40)])
def test_how_far_a_reference_has_followed_an_even_walk(rate, every):
    """The policy moves by d an update; after J moves of the reference the lag is a geometric series."""
    origin, way = (
        {"w": jnp.array([1.0, -2.0]), "b": jnp.float32(0.5)},
        {"w": jnp.array([0.3, 0.1]), "b": jnp.float32(-0.2)},
    )
    at = lambda k: jax.tree.map(lambda o, d: o + k * d, origin, way)
    reference = references.ema(1 - rate, every)
    state, update = reference.init(origin), jax.jit(reference.update)
    assert references.followed(origin, state, origin) == 0  # nothing has moved
    for k in range(200):
        state = update(state, at(k + 1), k)
    moves = 200 // every
    lag = every * sum((1 - rate) ** i for i in range(1, moves + 1))  # in updates of the policy
    np.testing.assert_allclose(references.followed(origin, state, at(200)), 1 - lag / 200, rtol=1e-3, atol=1e-5)
    if rate == 0.001:
        assert references.followed(origin, state, at(200)) < 0.002  # what is released does not move in so few updates


def test_the_moving_reference_follows_inside_the_step(base):
    config = tiny.align(start=base, reference=Reference(kind="sync", rate=0.5, every=2))
    (one, _), (two, _) = run(config, tiny.batch())
    start = jax.device_get(prepared(config)[1].reference)
    jax.tree.map(np.testing.assert_array_equal, one.reference, start)
    close(two.reference, jax.tree.map(lambda a, b: 0.5 * a + 0.5 * b, start, two.params), 1e-6)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("slow", {}, "slow"),
        ("ema", {"decay": 1.5}, r"decay must lie in \[0, 1\]"),
        ("ema", {"every": 0}, "every be at least 1; found .* and 0"),
        ("sync", {"rate": 0.0}, r"rate in \(0, 1\]"),
    ],
)
def test_wrong_references_are_named(kind, options, message):
    with pytest.raises((ValueError, TypeError), match=message):  # the tests' type checker speaks first
        Reference(kind=kind, **options)


# ------------------------------------------------------------------------------------------------------------ methods


def test_parts_of_clips_are_measured_in_the_step(base):
    """DenseDPO through the network: halves of the clip, verdicts of both signs and a tie."""
    spec = Preference(loss="dense_dpo", beta=20.0)
    config = tiny.align(start=base, preference=spec)
    network, state, _, put, key = prepared(config)
    masks = np.zeros((4, 2, 4, 1, 1, 1), np.float32)
    masks[:, 0, :2], masks[:, 1, 2:] = 1, 1
    label = np.array([[1, -1], [0, 1], [-1, -1], [0, 0]], np.float32)
    rows = tiny.batch(4, losers=1) | {"masks": masks, "label": label}
    batch, drawn = step.draw(config, None, key, jax.tree.map(jnp.asarray, rows))
    nudged = jax.tree.map(lambda p: p * 1.01, state.params)
    of = lambda k: step.pair_loss(network, references.frozen(), k, {})
    run = jax.jit(lambda p, k, b, d: update.gradient(of(k), p, (b, d)))
    loss, measured, grad = run(nudged, state.params, batch, drawn)
    np.testing.assert_allclose(np.mean(measured.policy.win_parts, 1), measured.policy.win, rtol=1e-5)
    first = np.asarray(measured.policy.win_parts - measured.reference.win_parts, np.float64)
    second = np.asarray(measured.policy.lose_parts - measured.reference.lose_parts, np.float64)[:, 0]
    each = np.where(label == 0, 0, np.log1p(np.exp(10 * label * (first - second))))
    np.testing.assert_allclose(loss, each.sum(1).mean(), rtol=1e-5)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grad)) and np.abs(grad["head"]["kernel"]).max() > 0


def test_every_method_takes_what_it_should_from_the_measured_errors():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.uniform(0.5, 1.5, shape)
    policy, reference = (errors.Errors(draw(4), draw(4, 3), draw(4, 1), draw(4, 3, 1)) for _ in range(2))
    sigma = draw(4) / 2
    measured = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), errors.Measured(policy, reference, sigma))
    masks = jnp.zeros((4, 1, 2, 1, 1, 1)).at[:, :, 0].set(1)  # half of the clip
    dw, dl = (policy.win - reference.win)[:, None], policy.lose - reference.lose
    softplus = lambda z: np.log1p(np.exp(z))
    dpo = softplus(10 * (dw - dl)).mean(1)
    region = softplus(
        10 * 1.15 * (policy.win_parts - reference.win_parts - (policy.lose_parts - reference.lose_parts)[..., 0])
    )
    logistic = lambda z: 1 / (1 + np.exp(-z))
    origin = max(0, -np.concatenate([dw, dl], 1).mean())
    expected = {
        "sft": policy.win,
        "dpo": dpo,
        "ipo": ((dl - dw - 1 / 40) ** 2).mean(1),
        "hinge": np.maximum(0, 1 - 20 * (dl - dw)).mean(1),
        "smoothed": 0.9 * dpo + 0.1 * softplus(10 * (dl - dw)).mean(1),
        "robust": (0.9 * dpo - 0.1 * softplus(10 * (dl - dw)).mean(1)) / 0.8,
        "dpop": dpo + 0.5 * np.maximum(dw[:, 0], 0),
        "reg_dpo": dpo + 0.5 * policy.win,
        "reference_free": softplus(0.2 - 10 * (policy.lose - policy.win[:, None])).mean(1),
        "kto": 0.5 * (1 - logistic(20 * (-dw[:, 0] - origin)) + (1 - logistic(-20 * (-dl - origin))).mean(1)),
        "local_dpo": region.mean(1) + dpo + 0.5 * policy.win,
    }
    assert set(expected) == set(losses.METHODS) - {"dense_dpo"}
    numbers: dict[str, Any] = {"anchor": 0.5, "flipped": 0.1, "margin": 0.2, "boost": 0.3}
    for name, value in expected.items():
        own = {field: numbers[field] for field in losses.METHODS[name].reads if field in numbers}
        spec = Preference(loss=name, beta=20.0, losers=3, **own)
        found = losses.pair_losses(spec, measured, {"masks": masks})
        np.testing.assert_allclose(found, value, rtol=2e-5, atol=2e-5, err_msg=name)
    squared = losses.pair_losses(Preference(beta=20.0, weighting="squared"), measured, {})
    weighted = softplus(10 * (1 - sigma[:, None]) ** 2 * (dw - dl)).mean(1)
    np.testing.assert_allclose(squared, weighted, rtol=2e-5)
    bare = measured._replace(policy=measured.policy._replace(win_parts=None))
    with pytest.raises(ValueError, match="dense_dpo: the batch has no 'masks'"):
        losses.pair_losses(Preference(loss="dense_dpo"), bare, {})
    with pytest.raises(ValueError, match="dense_dpo: the batch has no 'label'"):
        losses.pair_losses(Preference(loss="dense_dpo"), measured, {})


def test_a_pair_weight_of_zero_takes_the_pair_out(base):
    config = tiny.align(start=base)
    network, state, _, put, key = prepared(config)
    batch, drawn = step.draw(config, None, key, jax.tree.map(jnp.asarray, tiny.batch()))
    loss = lambda k: step.pair_loss(network, references.frozen(), k, {})
    grad = jax.jit(lambda p, b, d: update.gradient(loss(p), p, (b, d))[2])
    weight = jnp.asarray([2.0, 2, 2, 2, 0, 0, 0, 0])
    half = lambda x: x[:4]
    found = grad(state.params, batch | {"weight": weight}, drawn)
    expected = grad(state.params, jax.tree.map(half, batch), jax.tree.map(half, drawn))
    close(found, expected, 1e-5)


# ----------------------------------------------------------------------------------------------------------- rollouts


def test_rollouts_inside_the_step_on_eight_devices_equal_one(base):
    """Losers sampled by the policy, guided, the worst two of three kept; one program."""
    rows = tiny.batch()
    del rows["lose"], rows["pair"]
    made = Rollout(source="policy", steps=2, guidance=2.0, candidates=3)
    online = functools.partial(tiny.online, start=base, rollout=made, optim=SMALL)
    expected = run(online(), rows)
    found = run(online(mesh={"data": 4, "fsdp": 2}), rows)
    tiny.same_updates([state for state, _ in found], [state for state, _ in expected])
    for (_, metrics), (_, wanted) in zip(found, expected, strict=True):
        for name, value in wanted.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    first = expected[0][1]
    np.testing.assert_allclose(first["loss"] + first["margin"] / 2, math.log(2), atol=1e-6)
    assert abs(first["margin"]) < 1e-5
    assert first["pair_weight"] == 1 and first["lose_motion"] > 0 and first["lose_error"] > 0


def test_configs_that_cannot_be_are_refused():
    cases = [
        (lambda: tiny.align(reference=Reference(kind="lora_off")), "lora_off needs a LoRA run"),
        (lambda: tiny.align(reference=Reference(kind="none")), "dpo needs a reference"),
        (lambda: tiny.align(pairs=None), "no losers: set pairs"),
        (lambda: tiny.align(rollout=Rollout(source="policy")), "rollout.source must be 'stored'"),
        (
            lambda: tiny.online(reference=Reference(kind="precomputed", draws=4)),
            "stored reference errors are of stored",
        ),
        (lambda: Reference(kind="precomputed"), "needs a bank of at least 1 draw"),
        (lambda: tiny.online(preference=Preference(loss="dense_dpo")), "needs the masks of stored pairs"),
        (lambda: tiny.online(rollout=Rollout(source="policy", candidates=1)), "1 rollout candidates cannot give 2"),
        (lambda: Preference(beta=0.0), "beta must be positive"),
        (lambda: Preference(anchor=1.0), "preference.anchor: dpo has no use for it, found 1.0"),
        (lambda: Preference(low=0.5, high=0.5), "0 <= low < high <= 1"),
    ]
    for make, message in cases:
        with pytest.raises(ValueError, match=message):
            make()
    unknown: Any = "ppo"
    with pytest.raises((ValueError, TypeError), match="ppo"):  # the tests' type checker speaks first
        tiny.align(preference=Preference(loss=unknown))


def test_levels_stay_in_their_range():
    config = tiny.align(preference=Preference(low=0.0, high=0.5, losers=2))
    sigma = step.levels(config, jax.random.key(0), 64)
    assert 0 < sigma.min() and sigma.max() < 0.5 and sigma.max() > 0.45


def test_accuracy_counts_ties_as_a_half_and_loser_dominance_is_seen():
    from vrjax.align import logs

    policy = errors.Errors(jnp.array([1.0, 1.2]), jnp.array([[1.0, 1.0], [1.5, 1.1]]))
    reference = errors.Errors(jnp.array([1.0, 1.0]), jnp.array([[1.0, 1.0], [1.0, 1.0]]))
    measured = errors.Measured(policy, reference, jnp.array([0.2, 0.7]))
    found = logs.metrics(Preference(beta=2.0, bins=2), measured)
    assert found["accuracy"] == 0.5  # two ties; one pair right, one wrong
    assert found["loser_dominant"] == 0.25
    np.testing.assert_allclose(found["win_gap"], 0.1, rtol=1e-5)
    np.testing.assert_allclose(found["win_gap_bin1"], 0.2, rtol=1e-5)
    assert losses.dpo(0.0, 0.0, beta=2.0) > 0


def test_the_watch_warns_once_when_accuracy_rises_and_winners_get_worse():
    from vrjax.align import logs

    watch = logs.Watch(window=3)
    healthy = {"accuracy": 0.97, "win_gap": -0.1, "loser_dominant": 0.1}
    bad = {"accuracy": 0.98, "win_gap": 0.2, "loser_dominant": 0.4}
    assert [watch.see(i, healthy) for i in range(5)] == [None] * 5
    with pytest.warns(logs.LoserShortcut, match="accuracy 0.98 while the policy's error on winners is"):
        said = [watch.see(i, bad) for i in range(5, 9)]
    assert sum(s is not None for s in said) == 1


def test_rewards_have_the_names_of_trl():
    from vrjax.align import logs

    rng = np.random.default_rng(0)
    one = lambda: errors.Errors(jnp.asarray(rng.random(4)), jnp.asarray(rng.random((4, 2))))
    measured = errors.Measured(one(), one(), jnp.asarray(rng.random(4)))
    spec = Preference(beta=20.0, bins=2)
    row = {name: float(value) for name, value in logs.metrics(spec, measured).items()}
    named = logs.Watch(spec).named(row)
    assert named["rewards/accuracies"] == row["accuracy"] and named["rewards/margins"] == row["margin"]
    assert named["rewards/chosen"] == pytest.approx(-10 * row["win_gap"])
    assert named["rewards/chosen"] - named["rewards/rejected"] == pytest.approx(row["margin"], rel=1e-4)
    assert set(logs.Watch(dataclasses.replace(spec, weighting="squared")).named(row)) == {
        "rewards/accuracies",
        "rewards/margins",
    }
    assert logs.Watch(spec).named({"loss": 1.0}) == {}


def test_a_collapse_is_seen_over_a_window_and_a_sick_state_at_once():
    from vrjax.align import logs

    healthy = {"accuracy": 0.6, "win_gap": -0.1, "loser_dominant": 0.1, "win_error": 0.2, "reference_win_error": 0.2}
    watch = logs.Watch(window=3)
    for i in range(3):
        watch.see(i, healthy)
    assert watch.sick is None and watch.collapsed is None
    watch.see(3, healthy | {"win_error": 2.0})  # (0.2 + 0.2 + 2) / 0.6 is 4 times
    assert "4.0 times the reference's over the last 3 updates" in watch.collapsed
    fresh = logs.Watch(window=3)  # as after a kill: not lost yet, but nothing to keep
    fresh.see(0, healthy | {"win_error": 2.0})
    assert fresh.collapsed is None and "10.0 times" in fresh.sick
    late = logs.Watch(window=20)  # a mean over the window would hide what came last
    for i in range(20):
        late.see(i, healthy | {"win_error": 0.2 if i < 15 else 1.2})
    assert late.collapsed is None and "6.0 times the reference's over the last 5" in late.sick
    alone = logs.Watch(window=1)  # a loss without a reference
    alone.see(0, healthy | {"win_error": 2.0, "reference_win_error": 0.0})
    assert alone.sick is None

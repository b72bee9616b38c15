"""Arms: what they cost, what they train on, and that the compiled update is the library's own step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from experiments.realdpo import arms, inputs, network, page, pairs, suite, training, verdicts
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO, Tuned
from experiments.realdpo.suite import BASE, BEST, CURVE, EXTRA
from experiments.realdpo.verdicts import SFT
from vrjax import parallel
from vrjax.align import references, step
from vrjax.align.config import Preference
from vrjax.align.config import Reference as ReferenceConfig
from vrjax.study import registration
from vrjax.tasks.discs import physics
from vrjax.train import state as states
from vrjax.train import update
from vrjax.train.config import Optim
from vrjax.train.objectives import level_of
from vrjax.train.optim import schedule
from vrjax.train.state import Network

TINY = tiny.realdpo()


def arm(name: str, study: RealDPO = TINY) -> Regime:
    return next(a for a in arms.catalogue(study) if a.name == name)


def test_bills_are_the_hand_formula():
    study = RealDPO(name="s", reals=64, losers=3, batch=16, steps=300, sampler_steps=10, group=8, prompts=8)
    price = lambda name: arms.bill(arm(name, study), study)[:2]
    assert price("SFT") == (16 * 3, 0)
    assert price("RealDPO") == (16 * 8, 64 * 1 * 10)
    assert price("RealDPO, 3 losers") == (16 * 16, 64 * 3 * 10)
    assert price("RealDPO, invalid losers only") == (16 * 8, 64 * 3 * 10)
    assert price("reference-free") == (16 * 6, 640)
    assert price("KTO") == (16 * 8, 640)
    assert price("SFT on valid base samples") == (16 * 3, 64 * 3 * 10)
    assert price("SFT, real clips of the same conditions") == price("SFT on valid base samples")  # as many updates
    assert price("RealDPO, released recipe") == (16 * 16, 64 * 3 * 10)
    assert price("null: RealDPO, other real clips lose") == (16 * 8, 0)
    assert price("RealDPO + SFT anchor, 16 real clips") == (16 * 8, 16 * 10)
    # A trajectory: 10 forwards, then 9 transitions forward and backward.
    assert price("GRPO with the verifier") == (8 * 8 * (10 + 9 * 3), 0)
    assert arms.budget(study) == 300 * 128 + 640


def test_equal_compute_is_spent_and_never_exceeded():
    study = RealDPO(name="s")
    budget = arms.budget(study)
    for one in arms.catalogue(study):
        price, count = arms.bill(one, study), arms.updates(one, study)
        if one.steps is not None:
            assert (one.name, count) in (("RealDPO, released recipe", 400), ("GRPO with the verifier", 160))
            continue
        assert price.total(count) <= budget < price.total(count + 1), one.name
        assert set(arms.rows(one, study).values()) <= {count, study.steps}
    assert arms.updates(arm("RealDPO", study), study) == study.steps
    assert arms.looks(study)[-1] == 2 * arms.updates(arm("SFT", study), study)
    poor = dataclasses.replace(study, steps=1, reals=1)
    with pytest.raises(ValueError, match="does not pay"):
        arms.updates(arm("RealDPO, 3 losers", poor), poor)
    with pytest.raises(ValueError, match="unknown arms"):
        arms.catalogue(dataclasses.replace(study, arms=("SFT", "PPO")))
    with pytest.raises(ValueError, match="tuned.beta"):
        RealDPO(name="s", tuned=Tuned(beta=0.0))
    names = [one.name for one in arms.catalogue(study)]
    assert len(set(names)) == len(names)


@pytest.fixture
def material():
    real = physics.make("bounce", 16, split="real", seed=0)
    broken = physics.make("bounce", 16, split="real", seed=0, broken=1.0)
    samples = np.stack([broken.path, real.truth, real.truth], 1)
    valid = np.tile([False, True, True], (16, 1))
    valid[0] = True  # a clip whose every sample is valid
    samples[0, 0] = real.truth[0]
    return pairs.Material(real, samples, valid, seed=5)


def test_rows_of_the_arms(material):
    real, first = inputs.latents(material.real.truth), inputs.latents(material.samples[:, 0])
    plain = pairs.rows(arm("RealDPO"), material)
    assert np.array_equal(plain["latent"], real) and np.array_equal(plain["lose"][:, 0], first)
    assert plain["weight"].tolist() == [1.0] * 16
    three = pairs.rows(arm("RealDPO, 3 losers"), material)
    assert three["lose"].shape == (16, 3, physics.FRAMES, 1, 1, 2)
    assert np.array_equal(three["lose"][:, 1], real)
    bad = pairs.rows(arm("RealDPO, invalid losers only"), material)
    assert bad["weight"].tolist() == [0.0] + [1.0] * 15
    assert np.array_equal(bad["lose"][1:, 0], first[1:])
    coin = pairs.rows(arm("null: RealDPO, coin-flipped pairs"), material)
    swapped = (coin["latent"] != plain["latent"]).any((1, 2, 3, 4))
    assert 3 <= swapped.sum() <= 13
    assert np.array_equal(coin["latent"][swapped], first[swapped])
    assert np.array_equal(coin["lose"][swapped, 0], real[swapped])
    assert np.array_equal(coin["lose"][~swapped, 0], first[~swapped])
    other = pairs.rows(arm("null: RealDPO, other real clips lose"), material)["lose"][:, 0]
    found = [np.flatnonzero((real == one).all((1, 2, 3, 4))) for one in other]
    assert all(len(f) == 1 and f[0] != i for i, f in enumerate(found))
    own = pairs.rows(arm("SFT on valid base samples"), material)
    assert len(own["latent"]) == material.valid.sum() and "lose" not in own
    same = pairs.rows(arm("SFT, real clips of the same conditions"), material)
    assert np.array_equal(same["image"], own["image"]) and np.array_equal(
        same["latent"], real[material.valid.nonzero()[0]]
    )
    recipe = pairs.rows(arm("RealDPO, released recipe"), material)
    assert np.array_equal(recipe["lose"], three["lose"]) and recipe["weight"].tolist() == [3.0] * 16
    few = pairs.rows(dataclasses.replace(arm("SFT"), reals=3), material)
    assert np.array_equal(few["latent"], real[:3])
    with pytest.raises(ValueError, match="no base sample"):
        pairs.rows(arm("SFT on valid base samples"), dataclasses.replace(material, valid=np.zeros((16, 3), bool)))
    with pytest.raises(ValueError, match="nothing can lose"):
        pairs.rows(arm("RealDPO, invalid losers only"), dataclasses.replace(material, valid=np.ones((16, 3), bool)))


def test_the_update_is_the_librarys_step(material):
    """Traced numbers under vmap over bases: the same as vrjax.align.step with a config of plain numbers."""
    one = Regime(name="x", method="reg_dpo", group="", lr=3e-3, beta=7.0, anchor=2.0, high=0.6, rate=0.25, every=2)
    rows = pairs.rows(one, material)
    config = dataclasses.replace(
        network.post_config(TINY),
        preference=Preference(loss="reg_dpo", beta=7.0, anchor=2.0, high=0.6, bins=1),
        reference=ReferenceConfig(kind="ema", decay=0.75, every=2),
        optim=Optim(kind="adamw", lr=3e-3, warmup=TINY.warmup, final=1.0, b2=0.95, weight_decay=TINY.decay),
    )
    mesh = parallel.run_mesh(config.mesh)
    net, *made = states.make(config, mesh)
    state, shardings = step.extended(config, *made)
    weights = jax.tree.map(lambda x: x + 0.02 * jax.random.normal(jax.random.key(1), x.shape), state.params)
    origin = jax.device_get(weights)
    state = step.start(config, weights)
    assert isinstance(net, Network)
    update = step.make(net, mesh, shardings)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), weights)
    run, log = training.train(TINY, one, stacked, [rows, rows], until=3), []
    key = jax.random.fold_in(jax.random.key(TINY.first), 77)
    rng = np.random.default_rng([3, TINY.first])
    for done in (1, 2, 3):
        index = rng.integers(16, size=TINY.batch)
        state, metrics = update(state, {}, {k: v[index] for k, v in rows.items()}, key)
        count, params, logged = next(run)
        log.append(logged)
        assert count == done
        worst = jax.tree.map(lambda a, b: float(jnp.abs(a[0] - b).max()), params, state.params)
        assert max(jax.tree.leaves(worst)) < 2e-6, done
    assert next(run, None) is None
    log = training.stacked(log)
    assert log["win_gap"].shape == (3, 2)
    assert abs(log["win_gap"][-1, 0] - float(metrics["win_gap"])) < 1e-5
    # The reference has gone a quarter of the way once, after update 2.
    dose = references.followed(origin, state.reference, state.params)
    assert log["followed"][0, 0] == 0 and abs(log["followed"][-1, 0] - float(dose)) < 1e-4 and 0.05 < float(dose) < 0.3
    assert training.stacked([{"a": np.full(2, i)} for i in range(5)], 2)["a"].tolist() == [
        [0.5] * 2,
        [2.5] * 2,
        [4.0] * 2,
    ]
    assert abs(log["loss"][0, 0] - (np.log(2) + 2 * log["win_error"][0, 0])) < 1e-5


def test_the_released_recipe_is_the_released_code(material):
    """Its loss on a worked example, with the published formulas in x0-space; its optimiser; its reference."""
    one = arm("RealDPO, released recipe")
    config = training.config_of(TINY, one.method, one.losers, one.shared, one.warmup, one.accumulate)
    optim = config.optim
    assert (optim.kind, optim.b1, optim.b2, optim.weight_decay, optim.clip) == ("adamw", 0.9, 0.95, 1e-4, 1.0)
    rate = schedule(1.0, config.steps, optim.warmup, optim.final)
    assert [float(rate(k)) for k in (0, 50, 100, 399)] == pytest.approx([0, 0.5, 1, 1])
    assert config.accumulate == 4 and config.preference.losers == 3 and config.preference.shared_noise
    numbers = training.numbers(one)
    assert float(numbers["reference.decay"]) == pytest.approx(0.999) and int(numbers["reference.every"]) == 100
    assert (one.beta, one.high, one.anchor) == (5000, 0.5, 0)

    mesh = parallel.run_mesh(config.mesh)
    net, made, _ = states.make(config, mesh)
    shaken = lambda by: jax.tree.map(lambda x: x + by * jax.random.normal(jax.random.key(2), x.shape), made.params)
    policy, kept = shaken(0.02), shaken(0.021)
    batch = {k: jnp.asarray(v[:2]) for k, v in pairs.rows(one, material).items()}
    numbered = update.numbered(config, numbers)
    _, drawn = step.draw(numbered, None, jax.random.key(5), {k: v for k, v in batch.items()})
    assert drawn.sigma.shape == (2,) and float(drawn.sigma.max()) <= 0.5 and drawn.noise.shape == batch["latent"].shape
    loss = step.pair_loss(net, step.make_reference(numbered), kept, {}, numbered)
    value = float(loss(policy, batch, drawn)[0])

    def m(params, x0, i):
        """mean (x0_hat - x0)^2, over sigma^2 for the 1 - abar of the published form."""
        sigma, noise = drawn.sigma[i], drawn.noise[i]
        x = (1 - sigma) * x0 + sigma * noise
        given = {k: batch[k][i] for k in ("text", "image")}
        v = net.family.predict(net.build(params, {}), x, level_of(sigma), given).v
        return float(jnp.mean((x - sigma * v - x0) ** 2) / sigma**2)

    total = 0.0
    for i in range(2):
        win = m(policy, batch["latent"][i], i) - m(kept, batch["latent"][i], i)
        for lose in batch["lose"][i]:  # one backward pass a loser, none divided by their number
            u = -(5000 / 2) * (win - (m(policy, lose, i) - m(kept, lose, i)))
            total += np.logaddexp(0.0, -u)
    assert value == pytest.approx(total / 2, rel=2e-3)


def fake(rates: dict[str, float], study: RealDPO, learns: float = 1.0) -> dict[str, dict[str, np.ndarray]]:
    """Stored tables whose valid shares are known: sample (condition, noise) is valid below the row's rate."""
    shape = (study.bases, study.conditions, study.noises)
    grade = np.broadcast_to((np.arange(study.conditions)[:, None] + 0.5) / study.conditions, shape)

    def scores(rate):
        out = {"error": np.where(grade < rate, 0.0, 1.0).astype(np.float16)}
        out |= {m: np.full(study.bases, 0.05, np.float32) for m in ("rmse", "gravity", "gain", "below", "frozen")}
        out["motion"] = (0.05 + 0.002 * rate * grade[..., 0]).astype(np.float32)  # what never varies is not tested
        return {f"{family}/{m}": v for family in physics.FAMILIES for m, v in out.items()}

    measured = {BASE: {f"{BASE}|{k}": v for k, v in scores(rates[BASE]).items()}}
    measured[BASE] |= {
        "valid_losers": np.ones((study.bases, 16, 3), bool),
        "look_rates": np.full((study.bases, 1), 0.2),
    }
    wrong = {f"false_positives/{family}": np.zeros(study.bases) for family in physics.FAMILIES}
    measured[EXTRA] = wrong | {"separable": np.asarray(["nothing"])}
    for one in arms.catalogue(study):
        table = {}
        for row in [*arms.rows(one, study), *([BEST[one.name]] if one.name in BEST else [])]:
            table |= {f"{row}|{k}": v for k, v in scores(rates.get(row, rates.get(one.name, 0.5))).items()}
            if row in suite.SHOWN:
                table[f"{row}|paths"] = np.full((study.bases, 4, physics.FRAMES, 1, 2), 0.5, np.float16)
        if one.name in CURVE:
            table["looks"] = np.tile([3, 6], (study.bases, 1))
            table["look_rates"] = np.full((study.bases, 2), 0.3)
        if one.name in BEST:
            table["best"] = np.full(study.bases, 7)
        table |= {f"log|{k}": np.full((study.bases, 9), 0.25) for k in ("win_gap", "lose_gap", "loser_dominant")}
        if one.method not in ("sft", "grpo"):
            table["log|followed"] = np.full((study.bases, 9), 0.6 if "moving" in one.name else 0.001)
        if one.method == "grpo":
            table["log|reward"] = np.linspace(0.5, 0.5 + 0.2 * learns, 20) * np.ones((study.bases, 1))
        measured[one.name] = table
    return measured


def test_conditions_are_shown_by_a_rule():
    of = lambda *right: np.array(right, bool)
    right = {BASE: of(1, 0, 0, 0), SFT: of(1, 0, 1, 1), "RealDPO": of(1, 0, 0, 1)}
    assert [(i, name.split(",")[0]) for i, name in page.telling(right, 4)] == [
        (3, "RealDPO repairs what the base does wrongly"),
        (2, "SFT repairs it"),
        (1, "Nobody gets it right"),
        (0, "The first condition"),
    ]
    assert page.telling({BASE: of(1)}, 1) == [(0, "The first condition")]


def test_verdicts_on_a_table_with_known_answers(tmp_path):
    study = dataclasses.replace(TINY, bases=8, conditions=200, grpo_steps=200, resamples=2000)
    asked = registration.read(verdicts.__file__)
    rates = {BASE: 0.3, SFT: 0.5, "RealDPO": 0.7, "RealDPO + SFT anchor": 0.5, "RealDPO, 3 losers": 0.4}
    rates |= {
        "null: RealDPO, coin-flipped pairs": 0.3,
        "SFT on valid base samples": 0.4,
        "RealDPO, frozen reference": 0.7,
    }
    rates |= {"RealDPO, moving reference": 0.9, "SFT, real clips of the same conditions": 0.3}
    measured = fake(rates, study)
    rows = verdicts.gather(study, measured)
    found = {c.id: c for c in verdicts.claims(study, asked, rows, measured)[0]}
    assert set(found) == {c["id"] for c in asked.claims}  # every registered claim has its arms
    assert found["realdpo.over_sft"].estimate == pytest.approx(0.2)
    assert found["realdpo.over_sft"].verdict == "reproduced" and found["realdpo.over_sft"].holm == 5 / 256
    low, high = found["realdpo.over_sft"].interval
    assert 0.17 < low < 0.2 < high < 0.23  # 40 of 200 conditions differ in each of 8 bases: standard error 0.01
    labels = found["realdpo.labels"]
    assert labels.verdict == "reproduced" and labels.beside == {"the null minus the base": pytest.approx(0.0)}
    winners = found["realdpo.real_winners"]  # the weaker of two contrasts speaks
    assert winners.estimate == pytest.approx(-0.1) and winners.verdict == "not reproduced"
    assert [c.estimate for c in winners.contrasts] == pytest.approx([0.1, -0.1])
    none = found["realdpo.anchored_over_sft"]
    assert none.estimate == 0 and none.verdict == "not tested"  # both arms have the same samples
    assert none.failed[0].startswith("dose: samples whose error")
    slow, fast = found["realdpo.ema_released"], found["realdpo.ema"]
    assert slow.verdict == "not tested" and len(slow.failed) == 2  # the same samples, and the reference stood still
    assert fast.verdict == "reproduced" and fast.estimate == pytest.approx(0.2)
    assert found["realdpo.losers"].verdict == "not reproduced"  # -0.3
    assert found["realdpo.motion"].verdict == "reproduced"
    assert found["realdpo.grpo"].verdict == "reproduced"
    page.write(tmp_path, study, asked, measured, rows, list(found.values()), [])
    shown = (tmp_path / "report.html").read_text()
    assert "The arms on one condition" in shown and "RealDPO + SFT anchor" in shown
    assert "GRPO learns: reward over updates" in shown and "How far references move" in shown
    lazy = fake(rates, study, learns=0.4)
    found = {c.id: c for c in verdicts.claims(study, asked, rows | verdicts.gather(study, lazy), lazy)[0]}
    assert found["realdpo.grpo"].verdict == "not tested"  # its reward did not rise by a tenth
    stuck = fake(rates | {BASE: 0.7}, study)
    found = {c.id: c for c in verdicts.claims(study, asked, verdicts.gather(study, stuck), stuck)[0]}
    assert found["realdpo.over_sft"].verdict == "not tested" and len(found["realdpo.over_sft"].failed) == 2
    table = verdicts.comparisons(study, rows)
    assert table["RealDPO"]["valid"] == pytest.approx(0.7) and table["RealDPO"]["gain"] == pytest.approx(0.2)
    assert table["RealDPO"]["p"] == 2 * 2.0**-study.bases  # two-sided: whole bases are flipped
    assert rows["RealDPO"].cost == arms.budget(study) and rows[BEST[SFT]].updates == 7
    text = verdicts.arms_markdown(rows, table)
    assert text.count("\n") == len(rows) + 2 and "0.700" in text
    without = dataclasses.replace(study, arms=("SFT", "RealDPO"))
    two = fake(rates, without)
    few, missing = verdicts.claims(without, asked, verdicts.gather(without, two), two)
    assert any("anchored_over_sft " in m for m in missing) and {c.id for c in few} < set(found)


@pytest.mark.parametrize("family", physics.FAMILIES)
def test_a_model_is_given_the_first_two_frames(family):
    clips = physics.make(family, 64, split="base", seed=3, broken=0.5)
    image = inputs.conditions(clips)["image"]
    assert not image[:, 2:, ..., 0].any() and (image[:, :2, ..., 0] == 1).all()
    assert np.array_equal(image[:, 2:, ..., 1:], image[:, :-2, ..., 1:])
    assert np.array_equal(image[:, :2, ..., 1:], inputs.latents(clips.truth[:, :2]))
    assert np.abs(inputs.positions(inputs.latents(clips.path)) - clips.path).max() < 1e-6

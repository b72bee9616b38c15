"""Arms: what they cost, what they train on, and that the compiled update is the library's own step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from experiments.realdpo import arms, inputs, network, pairs, training, verdicts
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO, Tuned
from experiments.realdpo.suite import BASE, BEST
from vrjax import parallel
from vrjax.align import step
from vrjax.align.config import Preference
from vrjax.align.config import Reference as ReferenceConfig
from vrjax.report import statistics
from vrjax.study import registration
from vrjax.tasks.discs import physics
from vrjax.train import state as states
from vrjax.train.config import Optim
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
        assert price.total(count) <= budget < price.total(count + 1), one.name
        assert set(arms.rows(one, study).values()) <= {count, study.steps}
    assert arms.updates(arm("RealDPO", study), study) == study.steps
    assert arms.looks(study)[-1] == 2 * arms.updates(arm("SFT", study), study)
    poor = dataclasses.replace(study, steps=1, reals=1)
    with pytest.raises(ValueError, match="does not pay"):
        arms.updates(arm("GRPO with the verifier", poor), poor)
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
    state = step.start(config, weights)
    assert isinstance(net, Network)
    update = step.make(net, mesh, shardings)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), weights)
    run, log = training.train(TINY, one, stacked, [rows, rows], until=3), []
    key = jax.random.fold_in(jax.random.key(0), 77)
    rng = np.random.default_rng([3, 0])
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
    assert abs(log["loss"][0, 0] - (np.log(2) + 2 * log["win_error"][0, 0])) < 1e-5


def fake(rates: dict[str, float], study: RealDPO) -> dict[str, dict[str, np.ndarray]]:
    """Stored tables whose valid shares are known: sample (condition, noise) is valid below the row's rate."""
    shape = (study.bases, study.conditions, study.noises)
    grade = np.broadcast_to((np.arange(study.conditions)[:, None] + 0.5) / study.conditions, shape)

    def scores(rate):
        error = np.where(grade < rate, 0.0, 1.0).astype(np.float32)
        out = {"error": error}
        out |= {m: np.full(shape, 0.05, np.float32) for m in ("rmse", "gravity", "gain", "below", "frozen", "motion")}
        out["motion"] = (0.05 + 0.002 * rate * grade).astype(np.float32)  # what never varies is not tested
        return {f"{family}/{m}": v for family in physics.FAMILIES for m, v in out.items()}

    measured = {BASE: {f"{BASE}|{k}": v for k, v in scores(rates[BASE]).items()}}
    for one in arms.catalogue(study):
        table = {}
        for row in [*arms.rows(one, study), *([BEST] if one.name == "SFT" else [])]:
            table |= {f"{row}|{k}": v for k, v in scores(rates.get(row, rates.get(one.name, 0.5))).items()}
        if one.name == "SFT":
            table["best"] = np.asarray(7)
        table |= {f"log|{k}": np.full((9, study.bases), 0.25) for k in ("win_gap", "lose_gap", "loser_dominant")}
        measured[one.name] = table
    return measured


def test_verdicts_on_a_table_with_known_answers():
    study = dataclasses.replace(TINY, bases=8, conditions=200, resamples=2000)
    asked = registration.read(verdicts.__file__)
    rates = {BASE: 0.3, "SFT": 0.5, "RealDPO": 0.7, "RealDPO + SFT anchor": 0.5, "RealDPO, 3 losers": 0.4}
    rows = verdicts.gather(study, fake(rates, study))
    found = {c.id: c for c in verdicts.claims(study, asked, rows)[0]}
    assert found["realdpo.over_sft"].estimate == pytest.approx(0.2)
    assert found["realdpo.over_sft"].verdict == "reproduced"
    low, high = found["realdpo.over_sft"].interval
    assert 0.1 < low < 0.2 < high < 0.3  # 40 of 200 conditions differ: standard error 0.03
    none = found["realdpo.anchored_over_sft"]
    nothing = statistics.clopper_pearson(0, 200).high  # no condition of 200 differs, and all bases share them
    assert none.estimate == 0 and none.interval == pytest.approx((-nothing, nothing))
    assert none.verdict == "not reproduced" and none.instances == 200
    assert found["realdpo.ema"].verdict == "not tested"  # both arms have the same samples: it had no dose
    assert found["realdpo.losers"].verdict == "not reproduced"  # -0.3
    assert found["realdpo.motion"].verdict == "reproduced"
    table = verdicts.comparisons(study, rows)
    assert table["RealDPO"]["valid"] == pytest.approx(0.7) and table["RealDPO"]["gain"] == pytest.approx(0.2)
    assert table["RealDPO"]["p"] == 2 * 2.0**-study.bases  # two-sided: whole bases are flipped, conditions say no more
    assert table["RealDPO + SFT anchor"]["holm"] == 1.0
    ps = sorted(row["p"] for name, row in table.items() if name != "SFT")
    assert min(row["holm"] for name, row in table.items() if name != "SFT") == pytest.approx(ps[0] * len(ps))
    assert rows["RealDPO"].cost == arms.budget(study) and rows[BEST].updates == 7
    text = verdicts.arms_markdown(rows, table)
    assert text.count("\n") == len(rows) + 2 and "0.700" in text
    without = dataclasses.replace(study, arms=("SFT", "RealDPO"))
    few, missing = verdicts.claims(without, asked, verdicts.gather(without, fake(rates, without)))
    assert any("anchored_over_sft " in m for m in missing) and {c.id for c in few} < set(found)


@pytest.mark.parametrize("family", physics.FAMILIES)
def test_a_model_is_given_the_first_two_frames(family):
    clips = physics.make(family, 64, split="base", seed=3, broken=0.5)
    image = inputs.conditions(clips)["image"]
    assert not image[:, 2:, ..., 0].any() and (image[:, :2, ..., 0] == 1).all()
    assert np.array_equal(image[:, 2:, ..., 1:], image[:, :-2, ..., 1:])
    assert np.array_equal(image[:, :2, ..., 1:], inputs.latents(clips.truth[:, :2]))
    assert np.abs(inputs.positions(inputs.latents(clips.path)) - clips.path).max() < 1e-6

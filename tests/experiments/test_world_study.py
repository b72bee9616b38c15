"""The command of the world-model study, its claims, tables and page, with made-up tables in the place of all worlds."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from world_tables import (
    BLUR,
    EPISODES,
    HORIZONS,
    LEADS,
    OUTCOMES,
    REACHED,
    STEPS,
    STUDY,
    WEIGHTS,
    WIDTH,
    draws_of,
    horizon_of,
    made_up,
)

from experiments.world_model import listings, names, reading, verdicts
from experiments.world_model import study as experiment
from experiments.world_model.config import Calibration, Methods, Search
from vrjax.report import claims
from vrjax.study import command, registration

TABLES = made_up()
ASKED = registration.read(verdicts.__file__, seeds=8)
MEASURED, STOP = [], []  # parts in order; those at which a process is killed


def measured(what):
    def measure(study, here, seed, trained):
        assert (trained.seed, trained.root) == (seed, here.folder / "worlds")

        def make():
            if (seed, what) in STOP:
                raise KeyboardInterrupt
            MEASURED.append((seed, what))
            return TABLES[names.part(seed, what)]

        return here.part(names.part(seed, what), make, code=names)

    return measure


@pytest.fixture(scope="module", autouse=True)
def no_worlds():
    with pytest.MonkeyPatch.context() as other:
        other.setattr(experiment, "MEASURE", {what: measured(what) for what in names.PARTS})
        other.setattr(command, "values", lambda *_: STUDY)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that was measured by two processes, the second of which was killed."""
    root = tmp_path_factory.mktemp("runs")
    assert experiment.main(["--out", str(root), "--only", "0", "2", "4", "6"]) == 0
    assert not (root / STUDY.name / "results.json").exists()
    STOP.append((3, names.METHODS))
    assert experiment.main(["--out", str(root), "--only", "1", "3", "5", "7"]) == 130
    STOP.clear()
    assert MEASURED[-1] == (1, names.METHODS)
    before = len(MEASURED)
    assert experiment.main(["--out", str(root)]) == 0
    assert MEASURED[before] == (3, names.METHODS) and len(set(MEASURED)) == len(MEASURED)
    return root / STUDY.name


def test_parts_are_measured_once(run):
    assert [what for seed, what in MEASURED if seed == 0] == list(names.PARTS)
    assert len(MEASURED) == 8 * len(names.PARTS)


def test_writes_everything_a_reader_needs_and_judges_it_again(run, tmp_path):
    found = {row.id: row for row in claims.read(run)}
    assert [*found] == [one["id"] for one in ASKED.claims]
    assert found["world.gradient"].verdict == "reproduced"
    assert found["world.plans"].verdict == "inconclusive"  # 32 episodes that are all alike say little
    text = (run / "report.html").read_text("utf-8")
    for said in ("Watch a frame come about", "Two planners at equal model calls", "too sure"):
        assert said in text
    assert (run / "world_model.png").stat().st_size > 20_000
    assert experiment.main(["--judge", str(run), "--out", str(tmp_path)]) == 0
    assert claims.read(tmp_path / STUDY.name) == claims.read(run)
    for name in listings.TABLES:
        assert (tmp_path / STUDY.name / f"{name}.md").read_bytes() == (run / f"{name}.md").read_bytes()


def test_some_parts_and_wrong_words(run, tmp_path, capsys):
    for words, said in ((["--only", "8"], "positions 0 to 7"), (["--parts", "far"], "unknown part 'far'")):
        assert experiment.main(["--out", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err
    assert experiment.main(["--out", str(tmp_path), "--parts", "horizon"]) == 0
    some = {row.id for row in claims.read(tmp_path / STUDY.name)}
    assert some == {"world.steps_horizon", "world.window_horizon"}  # what is self-forced is another part's


def test_what_a_study_cannot_be():
    for wrong, said in (
        ({"steps": (1, 4)}, r"steps is \(1, 4\), expected 2, the usual number"),
        ({"planned": ("8 steps",)}, "planned: found '8 steps'"),
        ({"parts": ("far",)}, "parts: found 'far'"),
        ({"seeds": (0, 0)}, "expected each once"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(STUDY, **wrong)
    unfair = Methods(pairs=((Search(candidates=8), Search(method=names.BOTH, candidates=8, refine=4)),))
    with pytest.raises(ValueError, match="expected equal ones"):
        experiment.plans.fairly(unfair)


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.fixture(scope="module")
def found():
    return {row.id: row for row in verdicts.claims(STUDY, ASKED, TABLES)}


def test_horizons_and_goals(found):
    """Differences of what was planted, where all seeds have one step more or less alike."""
    for name, one, other in (
        ("steps_horizon", "4 steps", "1 step"),
        ("window_horizon", "2 steps", "window 1"),
        ("forcing_horizon", "self-forced", "longer"),
    ):
        assert found[f"world.{name}"].per_seed == pytest.approx([HORIZONS[one] - HORIZONS[other]] * 8)
    share = lambda arm: REACHED[arm] / EPISODES
    assert found["world.plans"].estimate == pytest.approx(share("2 steps") - 0.9 * share("exact world"))
    assert found["world.steps_planning"].estimate == pytest.approx(share("2 steps") - share("1 step"))
    assert found["world.forcing_planning"].estimate == pytest.approx(share("self-forced") - share("longer"))
    assert found["world.plans_task"].verdict == "not tested"  # of a task the exact world reaches two goals of three
    row = {row["arm"]: row for row in listings.horizon(STUDY, reading.gathered(STUDY, TABLES))}
    assert row["1 step"]["horizon"]["value"] == pytest.approx(1.5)
    assert row["1 step"]["error 1"] == pytest.approx(0.25) and row["1 step"]["error 4"] == pytest.approx(2.0)


def test_what_self_forcing_did(found):
    """Errors of the first steps, by hand; a student that is the world it came from has had no dose."""

    def off(arm, seed):
        late = STEPS - horizon_of(arm, seed)
        return 0.25 + 1.75 * late / STEPS

    told = {one.name: one for one in found["world.distilled"].contrasts}
    beyond = lambda arm, share: np.mean([off(arm, s) - share * off("self-forced", s) for s in STUDY.seeds])
    assert told["within a tenth of the teacher"].estimate == pytest.approx(beyond("16 steps", 1 / 1.1), abs=1e-3)
    assert told["less far than undistilled"].estimate == pytest.approx(beyond("2 steps", 1), abs=1e-3)
    dose = "steps by which an episode's horizon moved"
    assert not any(dose in why for why in found["world.distilled"].failed)
    assert found["world.forcing_planning"].verdict == "reproduced"
    same = made_up()
    for seed in STUDY.seeds:
        first, second = same[names.part(seed, names.HORIZON)], same[names.part(seed, names.FORCING)]
        second["self-forced far"] = first["2 steps far"]
    found = {row.id: row for row in verdicts.claims(STUDY, ASKED, same)}
    for name in ("distilled", "forcing_horizon", "forcing_planning"):
        assert found[f"world.{name}"].verdict == "not tested"
        assert any(dose in why for why in found[f"world.{name}"].failed)


def test_planners(found):
    per_seed = [1 - (1 + seed % 2) / 4 for seed in STUDY.seeds]
    assert found["world.gradient"].per_seed == pytest.approx(per_seed)
    low, high = stats.t.interval(0.95, 7, np.mean(per_seed), stats.sem(per_seed))
    assert found["world.gradient"].interval[0] <= low and found["world.gradient"].interval[1] >= high
    levels = {one.name: one.estimate for one in found["world.gradient_levels"].contrasts}
    assert levels == pytest.approx({"gradient + CEM": 0.1, "CEM": 0.7 - 0.375})


def covered(arm):
    """The share of the law in the 18 inner gaps of 19 draws, both blurred, by drawing all of it at random."""
    rng, count = np.random.default_rng(0), 40_000
    drawn = rng.choice(OUTCOMES, (count, 1), p=WEIGHTS) + BLUR * rng.standard_normal((count, 1))
    seen = draws_of(arm)[0, :, 0] + BLUR * rng.standard_normal((count, 19))
    rank = (seen < drawn).sum(1)
    return np.mean((rank >= 1) & (rank <= 18))


def test_a_blur_hides_what_is_small_and_no_chance():
    """A world that is off by a little is covered as the law is, one that says the mean by a normal integral; draws of
    the law stay draws of it."""
    two = {"outcomes": np.array([[[1.0], [2.0]]]), "weights": np.array([0.5, 0.5])}
    spec, rng = Calibration(draws=9_999, blur=0.2), np.random.default_rng(1)
    of = lambda draws, **how: reading.scores(two, draws[None, :, None], dataclasses.replace(spec, **how)).coverage[0]
    law = rng.choice([1.0, 2.0], 9_999)
    assert of(law) == pytest.approx(0.9, abs=0.01) and of(law + 0.05) == pytest.approx(0.9, abs=0.02)
    assert of(law + 0.05, blur=0.0) == pytest.approx(0.5)  # the nearer outcome alone is between the two
    reach = 0.2 * stats.norm.ppf(0.95)
    mean = stats.norm.cdf((reach - 0.5) / 0.2) - stats.norm.cdf((-reach - 0.5) / 0.2)
    assert of(np.full(9_999, 1.5)) == pytest.approx(mean, abs=0.02)
    assert reading.scores(two, law[None, :, None] + 0.3, spec).bias == pytest.approx(law.mean() - 1.5 + 0.3)


def test_chance(found):
    """Coverage by drawn ranks; CRPS by the integral of squared differences of distribution functions."""
    miss = lambda arm: abs(covered(arm) - 0.9)
    assert found["world.calibrated"].estimate == pytest.approx(covered("2 steps") - 0.9, abs=0.01)
    assert found["world.steps_calibration"].estimate == pytest.approx(miss("1 step") - miss("4 steps"), abs=0.02)
    grid = np.linspace(-3, 8, 22_001)
    law = (WEIGHTS * (OUTCOMES <= grid[:, None])).sum(1)
    mean = WEIGHTS @ OUTCOMES
    integral = lambda a, b: np.trapezoid((a - b) ** 2, grid)
    excess = integral(law, mean <= grid)  # beyond the law's own, of a world that always says the mean
    least = 0.5 * WEIGHTS @ np.abs(OUTCOMES[:, None] - OUTCOMES) @ WEIGHTS
    seed = reading.gathered(STUDY, TABLES)[0]
    assert seed.excess("regressor").mean() == pytest.approx(excess / least, abs=2e-3)
    assert seed.spread("regressor") == pytest.approx(0, abs=1e-6)
    assert seed.spread("1 step") / seed.spread("2 steps") == pytest.approx(WIDTH["1 step"], rel=1e-5)


def test_leads(found):
    def lead(arm):
        place, look = (np.append(share ** np.arange(4), 0).mean() for share in LEADS[arm])
        return look - place

    contrasts = {one.name: one.estimate for one in found["world.where_first"].contrasts}
    assert contrasts["lead"] == pytest.approx(lead("slippery"), abs=1e-6)
    assert contrasts["beyond the exact law"] == pytest.approx(lead("slippery") - lead("exact law"), abs=1e-6)
    assert found["world.where_first"].verdict == "reproduced"
    row = {row["arm"]: row for row in listings.settling(STUDY, reading.gathered(STUDY, TABLES))}
    assert row["exact law"]["half place"] == pytest.approx(1.0)
    assert row["planted: where first"]["half place"] == pytest.approx(0.5 / 0.9)


def test_a_world_that_settles_nothing_is_not_tested():
    flat = made_up()
    table = flat[names.part(3, names.SETTLING)]
    table["slippery where"] = np.full_like(table["slippery where"], 0.2)
    found = {row.id: row for row in verdicts.claims(STUDY, ASKED, flat)}
    assert found["world.where_first"].verdict == "not tested"
    assert "slippery world: seeds whose first step" in found["world.where_first"].failed[0]

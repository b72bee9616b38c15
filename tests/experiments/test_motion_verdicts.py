"""The ViMoGen study's judging, from made-up tables whose answers are known: no model, seconds."""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import pytest
from motion_tables import STUDY, made_up
from rich.console import Console

from experiments.vimogen import listings, names, reading, verdicts
from experiments.vimogen.config import ViMoGen
from vrjax.bench.mbench import formulas
from vrjax.motion import program
from vrjax.study import archive, judging, readme, registration
from vrjax.study.command import values
from vrjax.study.tables import made_of, running

HOME = pathlib.Path(verdicts.__file__).parent


@pytest.fixture(scope="module")
def asked():
    return registration.read(verdicts.__file__, seeds=8)


@pytest.fixture(scope="module")
def tables():
    return made_up()


@pytest.fixture(scope="module")
def found(asked, tables):
    return judged(asked, tables)


def judged(asked, tables, study=STUDY):
    return {
        row.id.removeprefix("vimogen."): row for row in verdicts.claims(study, asked, reading.gathered(study, tables))
    }


def changed(tables, what, **arrays):
    """The tables with other arrays of one part, in all seeds."""
    parts = {names.part(number, what) for number in STUDY.seeds}
    some = lambda table: table | {name: of(table) for name, of in arrays.items()}
    return {name: some(table) if name in parts else table for name, table in tables.items()}


# --------------------------------------------------------------------------------------------------------------- claims


def test_what_is_there_is_reproduced_and_every_claim_is_judged(asked, found):
    assert [f"vimogen.{name}" for name in found] == [claim["id"] for claim in asked.claims]
    primaries = ("gate_best", "gate_knows", "distilled", "text_cleaner")
    assert asked.primaries == tuple(f"vimogen.{name}" for name in primaries)
    for name in (*primaries, "refines_jitter", "gate_c", "forgets", "lifted", "synthetic", "branches", "judges"):
        assert found[name].verdict == "reproduced", found[name]
    assert all(found[name].p == 1 / 256 and found[name].holm == 4 / 256 for name in primaries)
    assert found["gate_oracle"].verdict == "not reproduced"  # this gate is nearly one itself
    assert found["gate_best"].instances == 8 * 120 and len(found["gate_best"].contrasts) == 4
    one = found["distilled"]
    assert one.estimate == pytest.approx(0.5, abs=0.1) and one.beside["verbs that no clip shows"] == 0
    assert one.beside["an untrained network scores (rules)"] == 0
    assert [c.estimate for c in found["text_cleaner"].contrasts] == pytest.approx([0.009, 0.0045], abs=2e-4)


def test_estimates_are_what_the_tables_say(found, tables):
    solved = lambda arm, judge: np.stack([tables[names.part(k, arm)][judge] for k in range(8)]).astype(float)
    items = [tables[names.part(k, names.ITEMS)] for k in range(8)]
    sent = np.stack([(one["jitter"] < 0.05) & (one["cosine"] > 0.5) for one in items])
    for judge in ("rules", "recogniser"):
        text, motion = solved(names.T2M, judge), solved(names.M2M, judge)
        for other, less in ((names.T2M, text), (names.M2M, motion)):
            (one,) = [c for c in found["gate_best"].contrasts if c.name == f"{other}, {judge}"]
            np.testing.assert_allclose(one.per_seed, (np.where(sent, motion, text) - less).mean(1))
    text, motion = solved(names.T2M, "rules"), solved(names.M2M, "rules")
    best = np.maximum(text, motion).mean() - np.where(sent, motion, text).mean()
    assert found["gate_oracle"].estimate == pytest.approx(best)
    jitter = lambda arm: np.stack([tables[names.part(k, arm)]["metrics"][:80, 0] for k in range(8)]).astype(float)
    assert found["refines_jitter"].estimate == pytest.approx((jitter(names.M2M) - jitter(names.VIDEO)).mean())


def test_a_gate_that_does_not_look_knows_nothing(asked):
    """It sends as many, and of each kind of prompt; so it beats the branches' worse one, and not its own null."""
    study = dataclasses.replace(STUDY, items=120)
    row = judged(asked, made_up(study, looks=0.0), study)["gate_knows"]
    assert row.verdict == "not reproduced" and abs(row.estimate) < 0.02 and row.interval[0] < 0 < row.interval[1]
    assert row.p > 0.05 and row.beside["oracle gate minus random gate"] > 0.1


def test_a_student_that_learns_nothing_is_not_reproduced(asked):
    row = judged(asked, made_up(distilled=0.0))["distilled"]
    assert row.verdict == "not reproduced" and row.checks[-1].passed


@pytest.mark.parametrize(
    "what, arrays, name, said",
    [
        (names.T2M, {"recogniser": lambda t: t["recogniser"] & False}, "gate_best", "gate: T2M, S"),
        (names.M2M, {"recogniser": lambda t: t["recogniser"] & False}, "gate_knows", "gate: M2M, V"),
        (names.CONTROL, {"recogniser": lambda t: t["recogniser"] | True}, "distilled", "gate: control, S"),
        (names.CLIPS, {"rules": lambda t: t["rules"] & False}, "distilled", "gate: distilled verbs in the student's"),
        (names.T2M, {"metrics": lambda t: t["metrics"] * [1, 0.5, 1, 1, 1]}, "text_cleaner", "gate: T2M over ground"),
        (names.TRUTH, {"rules": lambda t: t["rules"] & (t["match"] < 0.95)}, "distilled", "control: ground truth"),
        (names.FROZEN, {"rules": lambda t: t["rules"] | True}, "gate_best", "control: frozen pose"),
        (names.ITEMS, {"jitter": lambda t: t["jitter"] + 1}, "gate_best", "dose: share of prompts"),
        (names.ITEMS, {"far student control": lambda t: 0 * t["jitter"]}, "distilled", "dose: student and control"),
    ],
)
def test_what_fails_is_not_tested(asked, tables, what, arrays, name, said):
    """A teacher without the skill, or at its ceiling; judges that refuse the truth or pass a frozen pose; no dose."""
    row = judged(asked, changed(tables, what, **arrays))[name]
    assert row.verdict == "not tested" and any(why.startswith(said) for why in row.failed), row.failed
    assert row.holm == 1.0


def test_every_registered_check_and_contrast_is_one_that_is_read(asked, tables):
    whats = {
        check.what
        for claim in asked.claims
        for kind in ("gate", "control", "dose")
        for check in registration.checks(claim, kind, {})
    }
    assert whats <= set(verdicts.CHECKS)
    measured = verdicts.measured(reading.gathered(STUDY, tables))
    assert set(measured) == set(verdicts.CHECKS) and all(len(numbers) == 8 for numbers in measured.values())
    judges, arms = {*reading.JUDGED, *names.METRICS}, {*names.ARMS, *names.GATES}
    for claim in asked.claims:
        assert claim["gate"] and claim["control"] and claim["null"]
        how = claim["how"]
        for one, other, metric, items in [*how.get("contrasts", {}).values(), *how.get("beside", {}).values()]:
            assert {one, other} <= arms and metric in judges and items in reading.ITEMS
        assert how.get("of") in (None, *verdicts.SINGLE) and ("of" in how) != ("contrasts" in how)
    asked.enough(len(values("vimogen", "full").seeds))
    assert asked.seeds == len(values("vimogen", "full").seeds) == 8


# -------------------------------------------------------------------------------------------------------- what is read


def test_the_random_gate_is_the_mean_of_all_permutations_within_kinds_of_prompts():
    """By hand, on six prompts of each set: every way to send as many of each group."""
    study = dataclasses.replace(STUDY, seeds=(3,), items=6)
    (seed,) = reading.gathered(study, made_up(study, seed=5))
    text, motion = (seed.table(arm)["rules"].astype(float) for arm in (names.T2M, names.M2M))
    sent = seed.choices[names.ADAPTIVE]
    kinds = [(i // 6, verbs_) for i, verbs_ in enumerate(reading.unseen(seed.script))]
    assert len(set(kinds)) > 3  # V holds several
    expected = np.zeros(18)
    for kind in set(kinds):
        of = [i for i, other in enumerate(kinds) if other == kind]
        ways = list(itertools.combinations(of, int(sent[of].sum())))
        for way in ways:
            for i in of:
                expected[i] += (motion[i] if i in way else text[i]) / len(ways)
    np.testing.assert_allclose(seed.values(names.RANDOM, "rules"), expected)
    assert seed.values(names.RANDOM, "rules").mean() == pytest.approx(expected.mean())


def test_sets_and_verbs_are_told_apart():
    rows = [
        program.script("kick"),
        program.script("kick", upper="wave"),
        program.script("jumping_jack"),
        program.script("kick", upper="throw"),
        program.script("walk", upper="throw"),
        program.script("walk"),
    ]
    script = program.Script(*np.stack(rows, 1))
    assert reading.taught(STUDY, script).tolist() == [True, True, True, False, False, True]
    assert reading.unseen(script)[3:] == [("kick", "throw"), ("throw",), ()]
    study = dataclasses.replace(STUDY, items=2, seeds=(0,))
    first = [program.script("walk"), program.script("jump")] * 2
    kept = {names.part(0, names.ITEMS): {"script": np.stack([*first, rows[2], rows[4]]).astype(np.int8)}}
    (seed,) = reading.gathered(study, kept)
    chosen = {items: np.flatnonzero(seed.where(items)).tolist() for items in reading.ITEMS}
    assert chosen == {
        "all": [0, 1, 2, 3, 4, 5],
        "S": [0, 1],
        "C": [2, 3],
        "V": [4, 5],
        "S and C": [0, 1, 2, 3],
        "C and V": [2, 3, 4, 5],
        "distilled": [4],
        "not distilled": [5],
    }


def test_two_judges_are_compared_beyond_chance():
    rules, seen = np.array([1, 1, 0, 0, 1, 0, 0, 0], bool), np.array([1, 0, 0, 0, 1, 1, 0, 0], bool)
    found = reading.agreement(rules, seen)
    assert found.agree == 6 / 8 and found.chance == pytest.approx(3 / 8 * 3 / 8 + 5 / 8 * 5 / 8)
    assert found.kappa == pytest.approx((0.75 - found.chance) / (1 - found.chance))
    assert reading.agreement(rules | True, rules | True).kappa is None


def test_names_are_those_of_the_measures():
    assert names.METRICS == formulas.NAMES
    assert set(listings.ORDER) == {*names.ARMS, *names.GATES} and len(listings.ORDER) == 15
    assert names.part(3, names.TRUE) == "seed3-M2M_true_reference"
    assert len({names.part(0, arm) for arm in names.ARMS}) == len(names.ARMS)


def test_a_part_of_another_size_is_refused(tables):
    (first, *_) = reading.gathered(dataclasses.replace(STUDY, items=41), tables)
    with pytest.raises(ValueError, match="seed0-items: 120 motions, expected 41 of each of 3 sets"):
        first.values(names.T2M, "rules")


# --------------------------------------------------------------------------------------------------------------- tables


def test_tables_of_arms_gate_data_and_judges(tables):
    seeds = reading.gathered(STUDY, tables)
    found = listings.listed(STUDY, seeds)
    arms = {row["arm"]: row for row in found["arms"][1]}
    assert list(arms) == list(listings.ORDER)
    s = np.stack([tables[names.part(k, names.T2M)]["rules"][:40] for k in range(8)])
    one = arms[names.T2M]["S", "rules"]
    assert one["share"] == pytest.approx(s.mean()) and one["per seed"] == pytest.approx(s.mean(1).tolist())
    assert 0 <= one["low"] < one["share"] < one["high"] <= 1
    assert arms[names.TRUTH]["R@1"] > 0.9 > arms[names.FROZEN]["R@1"] and arms[names.TRUTH]["FID"] == pytest.approx(0)
    assert arms[names.FROZEN]["Dynamic_Degree"] == 0 and "R@1" not in arms[names.RANDOM]
    sent = np.mean([seed.choices[names.ADAPTIVE] for seed in seeds])
    assert arms[names.ADAPTIVE]["motion passes"] == pytest.approx(40 - 20 * sent)
    assert (arms[names.STUDENT]["film passes"], arms[names.STUDENT]["motion passes"]) == (0, 40)
    gate = {row["prompts"]: row for row in found["gate"][1]}
    assert list(gate) == ["S", "C", "V", "distilled", "not distilled", "all"] and gate["all"]["n"] == 960
    assert gate["V"]["sent"] == pytest.approx(np.mean([seed.choices[names.ADAPTIVE][80:] for seed in seeds]))
    assert gate["V"]["T2M alone solves: sent"] is None and gate["all"]["M2M alone solves: sent"] > 0.95
    data = {row["arm"]: row for row in found["data"][1]}
    assert data[names.T2M]["seconds"] == 403.5 and data[names.CONTROL]["seconds"] is None
    assert data[names.STUDENT]["distilled", "more"][0] == pytest.approx(0.5, abs=0.1)
    assert set(data) == set(listings.TAUGHT) and ("S", "more") not in data[names.CONTROL]
    judges = {row["arm"]: row for row in found["judges"][1]}
    assert judges[names.T2M]["agree"] == pytest.approx(0.97, abs=0.01) and judges[names.TRUTH]["kappa"] is None
    assert json.dumps([str(row) for columns, rows in found.values() for row in rows])
    for columns, rows in found.values():
        assert all(len(line) == len(columns) for line in listings.cells(columns, rows))
    text = listings.told(found)
    assert all(text[name].count("\n") == 2 + len(rows) for name, (_, rows) in found.items())


# ----------------------------------------------------------------------------------------------------------- from a run


@pytest.fixture
def run(asked, tables, tmp_path):
    """A run folder with these tables, as a study leaves it."""
    how = {"kind": "vimogen", "fresh": False, "console": Console(quiet=True), "registered": asked.keep}
    with running(tmp_path / STUDY.name, made_of(STUDY), **how) as here:
        for name, table in tables.items():
            here.part(name, lambda table=table: table, code=names)
    return tmp_path / STUDY.name


def test_a_run_is_judged_again_from_its_folder(run, asked, found, tmp_path):
    kept = archive.of_run(run)
    told = judging.judge("vimogen", verdicts.judged, ViMoGen, kept)
    assert {row.id.removeprefix("vimogen."): row for row in told.found} == found
    assert {"claims", "primary", "exploratory", "arms", "gate", "data", "judges"} <= set(told.tables)
    path = archive.write(tmp_path / "tables.zip", kept)
    again = judging.judge("vimogen", verdicts.judged, ViMoGen, archive.read(path))
    assert again.tables == told.tables and path.stat().st_size < 2_000_000
    text = (HOME / "README.md").read_text("utf-8")
    assert set(readme.blocks(text)) == set(told.tables)
    filled = readme.blocks(readme.filled(text, told.tables, judging.command("vimogen")))
    assert all(told.tables[name].strip() in block for name, block in filled.items())


def test_a_quick_run_has_numbers_and_no_verdicts(asked):
    quick = values("vimogen", "quick")
    study = dataclasses.replace(quick, resamples=50)
    rows = judged(asked, made_up(study), study)
    assert len(rows) == len(asked.claims) and all(row.verdict is None and row.seeds == 1 for row in rows.values())
    assert rows["gate_best"].instances == 48 and np.isfinite(rows["matcher"].estimate)
    found = listings.listed(study, reading.gathered(study, made_up(study)))
    assert set(found) == {"arms", "gate", "data", "judges"} and listings.told(found)["gate"].count("| S |") == 1


def test_of_a_run_that_has_not_ended_what_is_there_is_told(asked, tables):
    few = {name: table for name, table in tables.items() if not name.startswith("seed7-")}
    rows = judged(asked, few)
    assert len(rows) == len(asked.claims) and all(row.verdict is None and row.seeds == 7 for row in rows.values())
    few = {name: table for name, table in tables.items() if name != "seed2-student"}
    rows, told = verdicts.judged(STUDY, asked, few)
    assert {"vimogen.gate_best", "vimogen.lifted"} <= {row.id for row in rows} and "| student" not in told["arms"]
    assert not {"vimogen.distilled", "vimogen.judges"} & {row.id for row in rows}
    assert verdicts.judged(STUDY, asked, {}) == ([], {})

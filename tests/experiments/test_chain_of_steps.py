"""The main job, end to end: eight training seeds of tiny random specialists, trained already; and how it is judged."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny
from flax import nnx

from experiments.chain_of_steps import config as configs
from experiments.chain_of_steps import doses, measuring, primaries, specialists, verdicts
from experiments.chain_of_steps import study as experiment
from vrjax import tasks
from vrjax.flow import Level
from vrjax.models import wan
from vrjax.models.embedded import conditions
from vrjax.report import claims
from vrjax.study import archive, command, judging, registration, subjects
from vrjax.study import tables as measure

CFG = tiny.SPECIALIST
TINY = configs.ChainOfSteps(
    name="tiny",
    training=tuple(range(8)),
    causal=(0,),
    steps=3,
    few_steps=2,
    disturbed_steps=8,
    noises=2,
    trajectories=2,
    paths=2,
    beliefs=2,
    memory=2,
    edited=(1,),
    disturbed=2,
    swapped=2,
    ensembles=2,
    chosen=2,
    shown=1,
    resamples=50,
    group=2,
)
PROGRAMS = {}
RATES = {"reasoner": {"maze": 0.7, "maze_goals": 0.5}, "entrant": {"entrant": 0.8}}


def trained(root, name, seed, solved, **changes):
    """A run folder as training leaves it, of a random network."""
    recipe = specialists.recipes(TINY)[name]
    folder = root / f"{recipe.name}-{seed}"
    wan.save_dit(wan.WanDiT(dataclasses.replace(CFG, **changes), rngs=nnx.Rngs(seed)), folder / "model")
    rates = {world: {"solved": rate} for world, rate in solved.items()}
    claims.write(folder, [], details={"steps": recipe.steps, "solved": rates})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where run folders are: two different specialists for four seeds each, and a frame-causal reasoner."""
    root = tmp_path_factory.mktemp("runs")
    for name, solved in RATES.items():
        for seed in TINY.training:
            trained(root, name, seed, solved)
    trained(root, "causal", 0, {}, causal=True)
    return root


@pytest.fixture(scope="module")
def run(root):
    """The finished run folder: four seeds measured by a first command, the others by the one that judges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "values", lambda *of: TINY)
        over = measure.Bench.over

        def seen(self, fn, *given):
            PROGRAMS[measure.identity(fn)] = fn
            return over(self, fn, *given)

        patch.setattr(measure.Bench, "over", seen)
        assert experiment.main(["--full", "--out", str(root), "--only", "1", "2", "3", "4"]) == 0
        assert not (root / "tiny" / "results.json").exists()
        assert experiment.main(["--full", "--out", str(root)]) == 0
    return root / "tiny"


def test_every_registered_claim_is_judged(run):
    found = {row.id: row for row in claims.read(run)}
    asked = registration.read(experiment.__file__)
    stood = json.loads((run / "results.json").read_text())["registered"]
    assert [one["id"] for one in stood] == [one["id"] for one in asked.claims]
    assert len(asked.primaries) == 7 and all(row.verdict for row in found.values())
    many = found["cos.ensemble"]
    assert (many.seeds, many.instances) == (8, 8 * 2) and len(many.contrasts) == 2
    assert many.statistic.startswith("unique maze, 8 steps, 3 members, 'hidden mean")
    goals = found["cos.exploration"]  # its gate is not met, whatever was found
    assert goals.verdict == "not tested" and "maze_goals: solved 0.5" in goals.failed[0]
    assert {"model, not minus null", "null model", "untrained network", "frame-causal"} <= set(goals.beside)
    assert found["cos.correction"].checks[0].per_seed == (0.7,) * 8 and found["cos.correction"].checks[0].passed


def test_writes_everything_a_reader_needs(run):
    details = claims.read_details(run)
    assert details["dose"].startswith("hidden mean") and details["bill"]
    assert {row["world"] for row in details["tables"]["Worlds"]} == set(primaries.WORLDS)
    rows = details["tables"]["Ensemble"]
    assert [row["arm"] for row in rows] == [dose.name for dose in doses.doses(CFG.layers)]
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"] and len(row["per_seed"]) == 8
    assert "maze" in (run / "report.html").read_text() and list((run / "videos").glob("*.mp4"))


def test_the_tables_alone_say_the_same(run):
    kept = archive.of_run(run)
    told = judging.judge("chain_of_steps", verdicts.judged, type(TINY), kept)
    assert told.found == list(claims.read(run)) and not any("shown" in name for name in kept.tables)
    assert {"claims", "worlds", "ensemble", "blocks_swapped"} <= set(told.tables)
    few = kept._replace(tables={k: v for k, v in kept.tables.items() if not k.startswith("3-")}, finished=False)
    told = judging.judge("chain_of_steps", verdicts.judged, type(TINY), few)
    assert {row.seeds for row in told.found} == {7} and {row.verdict for row in told.found} == {None}
    assert not judging.judge("chain_of_steps", verdicts.judged, type(TINY), few._replace(tables={})).found


def test_all_seeds_share_their_programs(run):
    assert len(PROGRAMS) <= 20, sorted(fn.__module__ for fn in PROGRAMS.values())


def test_no_two_seeds_share_an_instance(run):
    starts = set()
    for seed in TINY.training:
        with np.load(run / "tables" / f"{seed}-model-maze-paths.npz") as table:
            of = json.loads(str(table["made_of"]))["part"]
        assert of["split"] == "test" and of["n"] <= TINY.block
        starts.add(of["first"])
    assert starts == {TINY.block * i for i in range(8)}


def test_resumes_from_what_is_measured(run, monkeypatch):
    monkeypatch.setattr(command, "values", lambda *of: TINY)
    before = (run / "results.json").read_bytes()
    (run / "results.json").unlink()

    def never(*args, **kwargs):
        raise AssertionError("a finished part was measured again")

    monkeypatch.setattr(measure.Bench, "over", never)
    assert experiment.main(["--full", "--out", str(run.parent)]) == 0
    assert (run / "results.json").read_bytes() == before


def refused(root, capsys, *words, **changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "values", lambda *of: dataclasses.replace(TINY, **changes))
        assert experiment.main(["--full", "--out", str(root), *words]) == 2
    return capsys.readouterr().err


def test_mistakes_are_one_line(run, tmp_path, capsys):
    assert "another config" in refused(run.parent, capsys, resamples=51)
    assert "expected training seeds among" in refused(tmp_path, capsys, "--only", "8")
    assert "7 primaries, but with 2 seeds" in refused(tmp_path, capsys, training=(0, 1))
    trained(tmp_path, "reasoner", 0, {})
    claims.write(tmp_path / "reasoner-0", [], details={"steps": 3, "solved": {}})
    assert "trained for 3 updates, expected" in refused(tmp_path, capsys)
    with pytest.raises(ValueError, match="memory is 9, but a seed has a block of 8 clips"):
        dataclasses.replace(TINY, memory=9, block=8)


def test_a_torn_table_is_named(run, capsys):
    table = run / "tables" / "0-model-maze-paths.npz"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    try:
        assert table.name in refused(run.parent, capsys)
    finally:
        table.write_bytes(whole)


def test_null_model_solves_unique_mazes_at_every_step(run):
    with np.load(run / "tables" / "0-null-maze-trajectories.npz") as table:
        assert table["solved"].all() and (table["score"] == 1).all()


def test_the_quick_run_has_the_shipped_pair(tmp_path):
    study = command.values("chain_of_steps", "quick")
    pair, rates = specialists.pair(study, tmp_path, None)
    assert set(pair) == set(specialists.NAMES) and not rates and study.quick
    tables = {f"{world}/trajectories": {"solved": np.array([[[False, True]], [[True, False]]])} for world in RATES}
    tables |= {f"{world}/trajectories": tables["reasoner/trajectories"] for world in primaries.WORLDS}
    assert verdicts.looked_at([tables]) == {f"{world}: solved": [0.5] for world in primaries.WORLDS}


def test_measures_and_controls_are_those_that_are_registered():
    asked = registration.read(experiment.__file__)
    names, checked = set(), {f"{world}: solved" for world in primaries.WORLDS} | set(verdicts.CONTROLS)
    for claim in asked.claims:
        read = claim["how"]["measure"]
        several = read if isinstance(read, dict) else {"": read}
        assert [one["name"] for one in claim["contrasts"]] == [name for name in several if name]
        names |= set(several.values())
        for kind in ("gate", "control", "dose"):
            for check in registration.checks(claim, kind, {}):
                assert check.what in checked, check.what
    assert names <= set(verdicts.MEASURES)
    parts = verdicts.parts(TINY)
    assert len({part.name for part in parts}) == len(parts)
    assert {part.specialist for part in parts} == set(specialists.NAMES)
    assert {who for part in parts for who in part.also} <= set(measuring.OTHERS)


@pytest.mark.parametrize("name", tasks.names())
def test_suite_reads_what_the_verifier_reads(name):
    here = subjects.suite(name, "test", 3, 1, CFG)
    rng = np.random.default_rng(0)
    x0 = here.rows["candidates"] + 0.05 * rng.normal(size=here.rows["candidates"].shape).astype(np.float32)
    x0 = np.concatenate([x0, rng.normal(size=x0[:, :1].shape).astype(np.float32)], 1)
    ours = here.solved(here.answers(x0))
    decode = conditions.blocks(subjects.FACTOR).decode
    theirs = [[here.task.solved(c, np.asarray(decode(v))) for v in row] for c, row in zip(here.clips, x0, strict=True)]
    np.testing.assert_array_equal(ours, theirs)
    assert ours.any() and not ours.all()


def test_untrained_control_moves():
    like = subjects.Subject("worlds", wan.WanDiT(CFG, rngs=nnx.Rngs(0)))
    control = subjects.untrained(like)
    here = subjects.suite("maze", "test", 1, 1, CFG)
    row = jax.tree.map(lambda a: a[0], here.rows)
    v = control.velocity(control.weights, row)(row["noise"][0], Level(np.float32(1), np.float32(1000))).v
    assert control.kind == "control" and float(np.abs(v).mean()) > 0.05


def test_stack_leaves_out_what_is_undefined():
    rows = [np.array([1.0, np.nan, 3.0, 4.0]), np.array([np.nan, 5.0, np.nan, 6.0])]
    np.testing.assert_array_equal(verdicts.stack(rows)[..., 0], [[1, 3], [5, 6]])
    with pytest.raises(verdicts.Unmeasured):
        verdicts.stack([np.array([np.nan])])

"""The main job, end to end on a tiny random model, and the pieces it judges with."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.chain_of_steps import config as configs
from experiments.chain_of_steps import study as experiment
from experiments.chain_of_steps import verdicts
from vrjax import tasks
from vrjax.models import wan
from vrjax.models.embedded import conditions, shipped
from vrjax.report import claims
from vrjax.study import command, subjects
from vrjax.study import tables as measure

CFG = wan.WanConfig(
    dim=12,
    ffn_dim=16,
    heads=1,
    layers=3,
    in_channels=7,
    out_channels=3,
    freq_dim=16,
    text_dim=8,
    text_len=16,
    gate_init=1.0,
)
TINY = configs.ChainOfSteps(
    name="tiny",
    models=("worlds", "worlds-1"),
    causal="worlds-causal",
    steps=3,
    seeds=2,
    tasks=("maze", "maze_goals", "occluder"),
    readouts=2,
    readouts_maze=2,
    disturbed=2,
    disturbed_steps=8,
    disturbed_every=4,
    transplants=2,
    probes=10,
    swaps=2,
    ablations=2,
    layer_steps=2,
    ensembles=2,
    ensemble_steps=2,
    early=(1,),
    mid=(1,),
    resamples=50,
    group=2,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of "shipped" models: two tiny random ones, as of two training seeds, and a causal one."""
    folder = tmp_path_factory.mktemp("weights")
    for i, name in enumerate((*TINY.models, TINY.causal)):
        cfg = dataclasses.replace(CFG, causal=name == TINY.causal)
        wan.save_dit(wan.WanDiT(cfg, rngs=nnx.Rngs(i)), folder / name)
    return folder


@pytest.fixture(scope="module")
def run(weights, tmp_path_factory):
    """The finished run folder of the tiny study, and the arguments it was made with."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "FOLDER", weights)
        patch.setattr(command, "values", lambda *of: TINY)
        assert experiment.main(["--out", str(root)]) == 0
    return root / "tiny"


def test_writes_everything_a_reader_needs(run):
    found = {row.id: row for row in claims.read(run)}
    assert {
        "cos.correction",
        "cos.exploration",
        "cos.memory",
        "cos.step_over_frame.maze",
        "cos.ensemble.single",
    } <= set(found)
    assert (found["cos.correction"].seeds, found["cos.correction"].instances) == (2, 2 * 2)  # each has its own two
    assert set(found["cos.correction"].beside) == {"null model", "untrained", "causal"}
    assert found["cos.memory"].verdict == "not tested" and "occluder: solved" in found["cos.memory"].failed[0]
    assert json.loads((run / "results.json").read_text())["registered"][0]["id"] == "cos.correction"
    details = claims.read_details(run)
    assert {"solved, null model", "solved, untrained", "solved, causal"} <= set(details["worlds"][0])
    assert len({row["arm"] for row in details["ensembles"]}) == len(details["ensembles"]) >= 15
    assert {row["world"] for row in details["worlds"]} == set(TINY.tasks)
    assert len(details["layers"]) == CFG.layers
    page = (run / "report.html").read_text()
    assert "Draw the path through the maze" in page or "maze" in page
    assert list((run / "videos").glob("*.mp4")) and (run / "figures" / "ensembles.png").stat().st_size > 1000


def test_resumes_from_what_is_measured(run, weights, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", weights)
    monkeypatch.setattr(command, "values", lambda *of: TINY)
    before = (run / "results.json").read_bytes()
    (run / "results.json").unlink()

    def never(*args, **kwargs):
        raise AssertionError("a finished part was measured again")

    monkeypatch.setattr(measure.Bench, "over", never)
    assert experiment.main(["--out", str(run.parent)]) == 0
    assert (run / "results.json").read_bytes() == before


def test_refuses_a_folder_of_another_study(run, weights, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "FOLDER", weights)
    monkeypatch.setattr(command, "values", lambda *of: dataclasses.replace(TINY, resamples=51))
    assert experiment.main(["--out", str(run.parent)]) == 2
    assert "another config" in capsys.readouterr().err


def test_unknown_model_is_one_line(tmp_path, weights, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "FOLDER", weights)
    monkeypatch.setattr(command, "values", lambda *of: dataclasses.replace(TINY, models=("nobody",)))
    assert experiment.main(["--out", str(tmp_path)]) == 2
    assert "no shipped model 'nobody'" in capsys.readouterr().err
    assert not (tmp_path / "tiny" / "results.json").exists()


def test_a_torn_table_is_named(run, weights, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "FOLDER", weights)
    monkeypatch.setattr(command, "values", lambda *of: TINY)
    table = run / "tables" / "worlds-maze-trajectories.npz"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    try:
        assert experiment.main(["--out", str(run.parent)]) == 2
        assert table.name in capsys.readouterr().err
    finally:
        table.write_bytes(whole)


def test_null_model_solves_unique_mazes_at_every_step(run):
    with np.load(run / "tables" / "null@worlds-maze-trajectories.npz") as table:
        assert table["solved"].all() and (table["score"] == 1).all()
        assert np.abs(table["ink_off"]).max() < 1e-3


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
    with pytest.raises(ValueError, match="whole estimates"):
        here.answers(x0[:, :2, -1])


def test_untrained_control_moves(weights):
    like = subjects.Subject("worlds", wan.load_dit(weights / "worlds"))
    control = subjects.untrained(like)
    here = subjects.suite("maze", "test", 1, 1, CFG)
    row = jax.tree.map(lambda a: a[0], here.rows)
    from vrjax.flow import Level

    v = control.velocity(control.weights, row)(row["noise"][0], Level(np.float32(1), np.float32(1000))).v
    assert control.kind == "control" and float(np.abs(v).mean()) > 0.05


def test_stack_leaves_out_what_is_undefined():
    tables = [{"a": np.array([1.0, np.nan, 3.0, 4.0])}, {"a": np.array([np.nan, 5.0, np.nan, 6.0])}]
    np.testing.assert_array_equal(verdicts.stack(tables, lambda t: t["a"])[..., 0], [[1, 3], [5, 6]])
    with pytest.raises(verdicts.Unmeasured):
        verdicts.stack([{"a": np.array([np.nan])}], lambda t: t["a"])


def test_statistics_on_tables_made_by_hand():
    solved = np.array([[[False, True], [True, True]], [[True, False], [False, True]]])
    np.testing.assert_array_equal(verdicts.correction({"solved": solved}), [[1, 0], [-1, 1]])
    still = np.array([[[0.2, 0.6, 0.9, 0.9], [0.6, 0.6, 0.6, 0.6]]])
    moving = np.array([[[0.1, 0.1, 0.4, 0.8], [0.9, 0.4, 0.1, 0.2]]])
    np.testing.assert_array_equal(verdicts.lead({"still": still, "moving": moving}), [[2, 4]])
    table = {"clean_answer": np.array([0, 1]), "step_equal_answer": np.array([[0, 2], [2, 2]])}
    table["frame_minus_answer"] = np.array([[0, 0], [1, 3]])
    np.testing.assert_array_equal(verdicts.dose_difference(table), [0.5, 0.5])
    cka = np.zeros((1, 3, 7))
    cka[0, 1, 3:] = 0.6  # injected at step 2, in the middle third of 6
    assert verdicts.mid_sensitivity({"steps": np.array([0, 2, 4]), "cka": cka})[0] == pytest.approx(0.6)


def test_ensemble_table_holds_every_arm(run):
    with np.load(run / "tables" / "worlds-maze-ensembles.npz") as stored:
        table = {k: stored[k] for k in stored.files}
    table["solved"] = np.random.default_rng(0).integers(0, 2, table["solved"].shape).astype(float)
    rows = verdicts.ensemble_table([table, table], 50)
    assert [r["arm"] for r in rows] == [str(n) for n in table["arms"]]
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"] and (row["arm"] == "single" or 0 <= row["holm"] <= 1)
    assert json.dumps(rows)

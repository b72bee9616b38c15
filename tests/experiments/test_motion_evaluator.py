"""The evaluator's training, and HumanML3D's table of a model that was never trained."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from experiments.vimogen import evaluator, humanml, solved
from vrjax.bench import humanml3d
from vrjax.data.motions import Motions
from vrjax.files import kept, writing
from vrjax.models import motion as motion_models
from vrjax.models.embedded import captions, matcher
from vrjax.motion import program
from vrjax.train.config import Data, TrainConfig, Validate

ROWS, TEXT = 9, (24, 12)
LOSS, GENERATE = jax.jit(evaluator.loss), solved.generate


def pairs(seed, count=8):
    rng = np.random.default_rng(seed)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit(rng.normal(size=(count, 5))), unit(rng.normal(size=(count, 5)))


def test_the_loss_is_the_mean_of_both_directions():
    text, motion = pairs(0)
    scripts = np.array([0, 1, 2, 0, 3, 0, 4, 1])
    same = scripts[:, None] == scripts
    total = 0.0
    for i in range(8):
        right = np.flatnonzero(same[i])
        for rows in (7.0 * motion @ text[i], 7.0 * text @ motion[i]):  # of all motions for a text, of all texts for ...
            total -= np.mean(rows[right] - np.log(np.exp(rows).sum()))
    assert float(LOSS(text, motion, same, 7.0)) == pytest.approx(total / 16, rel=1e-5)
    assert float(LOSS(motion, text, same, 7.0)) == pytest.approx(total / 16, rel=1e-5)


def test_the_loss_of_pairs_that_match_and_of_pairs_that_say_nothing():
    one, nothing = np.eye(8), np.ones((8, 1))
    assert float(LOSS(one, one, one > 0, 40.0)) == pytest.approx(0, abs=1e-6)
    assert float(LOSS(nothing, nothing, one > 0, 40.0)) == pytest.approx(np.log(8), rel=1e-5)
    assert float(LOSS(nothing, nothing, np.ones((8, 8), bool), 40.0)) == pytest.approx(np.log(8), rel=1e-5)


def test_scripts_are_alike_where_their_captions_are():
    every = program.scripts("S")
    picked = np.random.default_rng(1).integers(0, len(every.lower), 60)
    scripts = program.Script(*(jnp.asarray(column[picked]) for column in every))
    said = [program.caption(program.Script(*(column[i] for column in every))) for i in picked]
    expected = [[a == b for a in said] for b in said]
    found = np.asarray(jax.jit(evaluator.alike)(scripts))
    np.testing.assert_array_equal(found, expected)
    assert 60 < found.sum() < 600


@pytest.fixture(scope="module")
def trained():
    """A matcher after a short training on motions in which each action has a pose, and what the training said."""
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "perform", tiny.performance)
        return evaluator.train(30, frames=ROWS, batch=32, say=told.append), told


def test_a_short_training_finds_motions(trained, monkeypatch):
    """Poses tell actions apart; the rest of a script cannot be seen."""
    monkeypatch.setattr(program, "perform", tiny.performance)
    match, told = trained
    assert len(told) == 10 and told[-1].startswith("update 30 of 30: loss ")
    keys = jax.random.split(jax.random.key(1), 96)
    _, rows, joints = jax.jit(jax.vmap(lambda key: evaluator.example(key, ROWS)))(keys)
    texts = jax.jit(jax.vmap(match.text))(rows)
    found = humanml3d.r_precision(texts, match.motions(joints))
    before = matcher.Matcher(nnx.Rngs(0))
    chance = humanml3d.r_precision(jax.jit(jax.vmap(before.text))(rows), before.motions(joints))
    assert found[2] > 0.45 > 0.25 > chance[2]  # 3 of 32 by chance


def test_the_command_writes_the_weights(monkeypatch, tmp_path):
    made, asked = matcher.Matcher(nnx.Rngs(3)), []
    monkeypatch.setattr(evaluator, "train", lambda steps: asked.append(steps) or made)
    evaluator.main(["--steps", "7", "--to", str(tmp_path / "new")])
    assert asked == [7]
    found = matcher.load(tmp_path / "new")
    np.testing.assert_array_equal(found.texts(["jumps"]), matcher.load(tmp_path / "new").texts(["jumps"]))
    np.testing.assert_allclose(found.texts(["jumps"]), made.texts(["jumps"]), atol=5e-3)
    header = (tmp_path / "new" / matcher.FILE).read_bytes()[:9000].decode("latin1")
    assert '"name":"program-matcher","seed":"8001","updates":"7"' in header


def test_captions_are_those_of_the_items(monkeypatch):
    """The strings, and the rows of text that a model is given of the same motions."""
    monkeypatch.setattr(program, "perform", tiny.performance)
    items = solved.items("S", 7, ROWS, TEXT, paraphrase=None)
    rows = np.stack([captions.rows(caption, *TEXT) for caption in humanml.said(items.script)])
    np.testing.assert_array_equal(items.text, rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model, as `vrjax train` exports one."""
    to = tmp_path_factory.mktemp("run") / "model"
    to.mkdir()
    model = motion_models.MotionConfig(
        mode="mixed", dim=24, ffn_dim=16, heads=4, layers=1, freq_dim=8, text_dim=TEXT[1], text_len=TEXT[0]
    )
    data = Data(motions=Motions(rows=ROWS), batch=4)
    config = TrainConfig(name="tiny", model=model, steps=1, data=data, validate=Validate(every=0, final_clips=0))
    motion_models.save_dit(motion_models.init(config.model, jax.random.key(0)), to)
    writing.json(to / "training.json", {"config": writing.to_dict(config)})
    return to


SIZES = humanml.Sizes(clips=32, real=32, texts=8, times=4, repeats=2)  # whole groups of 32 motions: one program each
BRANCHES = (solved.TEXT, solved.MOTION)


@pytest.fixture
def quick(monkeypatch):
    """Motions that cost nothing: the truth's, the nearest, and those that a model is asked for, by seeds."""
    made = np.random.default_rng(0).normal(size=(2, 64, ROWS, 22, 3)).astype(np.float32)
    monkeypatch.setattr(program, "perform", tiny.performance)
    monkeypatch.setattr(solved, "nearest", lambda spec, seed, text: jnp.ones((len(text), ROWS, 22, 3)).cumsum(1))
    monkeypatch.setattr(solved, "generate", lambda model, items, how, branch, seed=0: made[seed])
    return made


@pytest.fixture
def table(folder, trained, tmp_path, quick):
    """The command at these sizes: gives what it wrote, and set S of it by rows."""
    matcher.save(trained[0], tmp_path, {})

    def run(*options):
        sizes = [f"--{name}={value}" for name, value in SIZES._asdict().items()]
        to = tmp_path / "out.json"
        humanml.main([str(folder), *sizes, "--steps=2", *options, "--evaluator", str(tmp_path), "--json", str(to)])
        found = json.loads(to.read_text())
        return found, {line["row"]: line for line in found["sets"]["S"]}

    return run


def test_the_whole_table(table, tmp_path, capsys):
    found, rows = table()
    assert found["evaluator"] == {"name": matcher.NAME, "fingerprint": kept.fingerprint(tmp_path / matcher.FILE)}
    assert found["asked"] == solved.Asked(steps=2)._asdict() | SIZES._asdict() | {"anew": False}
    assert list(rows) == [humanml3d.TRUTH, humanml.OTHERS, solved.FROZEN, solved.NEAREST, *BRANCHES]
    assert {line["n"] for line in rows.values()} == {2}
    true, others, near = (rows[name] for name in (humanml3d.TRUTH, humanml.OTHERS, solved.NEAREST))
    assert true["top3"] > others["top3"] and true["fid"] == others["fid"] < rows[solved.TEXT]["fid"]
    assert near["multimodality"] == near["diversity"] == 0 < rows[solved.TEXT]["multimodality"] < 2
    said = capsys.readouterr().out
    assert "by program-matcher, which is not the evaluator of papers" in said
    assert humanml.table(found["sets"]["S"], matcher.NAME) in said


def test_motions_are_sampled_anew_for_each_replication(table, monkeypatch, quick):
    """With a seed each; once for all of them without the option, and then nothing else is different."""
    asked = []

    def generate(model, items, how, branch, seed=0):
        asked.append((branch, seed, len(items.text)))
        return quick[seed]

    monkeypatch.setattr(solved, "generate", generate)
    (found, anew), (_, once) = table("--anew"), table()
    assert found["asked"]["anew"]
    assert asked == [(each, seed, 64) for each in BRANCHES for seed in range(2)] + [(each, 0, 64) for each in BRANCHES]
    assert anew[humanml3d.TRUTH] == once[humanml3d.TRUTH]
    assert anew[solved.TEXT]["fid interval"] > 1e-4 > once[solved.TEXT]["fid interval"]


class Ends:
    """An evaluator that remembers the motions that it was given, and says where one of their joints ends."""

    name = "ends"

    def __init__(self):
        self.given = []

    def texts(self, captions):
        return np.arange(3.0 * len(captions)).reshape(-1, 3)

    def motions(self, joints):
        self.given.append(np.asarray(joints))
        return self.given[-1][:, -1, 5]


def test_what_is_measured_is_what_the_model_makes_of_each_caption(folder, quick, monkeypatch):
    judge, asked = Ends(), solved.Asked(steps=2)
    monkeypatch.setattr(solved, "generate", lambda *a: GENERATE(*a) if solved.TEXT in a else quick[0])
    humanml.measured(folder, judge, split="S", asked=asked, sizes=SIZES, anew=True)
    model, _, config = solved.opened(folder)
    items = jax.tree.map(lambda x: x[:32], solved.items("S", 64, ROWS, TEXT))
    again = jax.tree.map(lambda x: jnp.concatenate([x, jnp.repeat(x[:8], 4, axis=0)]), items)
    made = [
        GENERATE(model, again, asked._replace(shift=config.objective.shift), solved.TEXT, seed) for seed in range(2)
    ]
    found = judge.given[3 * 4 : 3 * 6]  # after four rows; of each replication several of a caption, one each, the truth
    several, each = found[::3], found[1::3]
    for seed in range(2):
        np.testing.assert_array_equal(each[seed], made[seed][:32])
        np.testing.assert_array_equal(several[seed].reshape(8 * 4, ROWS, 22, 3), made[seed][32:])
    apart = lambda a, b: np.abs(a - b).max((1, 2, 3)).min()
    assert apart(each[0], each[1]) > 1e-3  # another seed, another motion of each caption
    assert apart(several[0][::4], several[0][1::4]) > 1e-3


def test_several_motions_of_a_caption_stand_behind_the_others():
    joints = jnp.arange(4 + 2 * 3.0)[:, None, None, None] * jnp.ones((1, 2, 22, 3))
    made = humanml.split_up(joints, humanml.Sizes(clips=4, texts=2, times=3))
    assert made.joints[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert made.many[:, :, 0, 0, 0].tolist() == [[4, 5, 6], [7, 8, 9]]


def test_what_cannot_be_measured_is_one_line(folder, tmp_path, capsys):
    matcher.save(matcher.Matcher(nnx.Rngs(0)), tmp_path, {})
    for argv, said in (
        ([str(folder), "--clips", "31"], "clips: expected at least 32, found 31"),
        ([str(folder), "--clips", "32", "--texts", "40"], "clips: expected at least 40, found 32"),
        ([str(tmp_path / "none"), "--evaluator", str(tmp_path)], "none"),
        ([str(folder), "--evaluator", str(tmp_path / "none")], matcher.FILE),
    ):
        with pytest.raises(SystemExit, match="2"):
            humanml.main([*argv, *(() if "--evaluator" in argv else ("--evaluator", str(tmp_path)))])
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith("python -m experiments.vimogen.humanml: ") and said in told


def test_the_shipped_evaluator_made_the_table_that_is_shown():
    found = json.loads((matcher.FOLDER / "humanml3d.json").read_text())
    assert found["evaluator"] == {"name": matcher.NAME, "fingerprint": kept.fingerprint(matcher.FOLDER / matcher.FILE)}
    page = (pathlib.Path(humanml.__file__).parent / "README.md").read_text()
    for lines in found["sets"].values():
        assert humanml.table(lines, matcher.NAME) in page
        rows = {line["row"]: line for line in lines}
        true, others = rows[humanml3d.TRUTH], rows[humanml.OTHERS]
        assert true["top3"] > 0.9 and others["top3"] < 0.25  # 3 of 32 by chance, and neighbours may be twins
        assert true["fid"] < rows[solved.TEXT]["fid"] < rows[solved.FROZEN]["fid"]
    assert isinstance(humanml3d.program_matcher(), matcher.Matcher)
    assert sum(p.stat().st_size for p in matcher.FOLDER.iterdir()) < 6e5

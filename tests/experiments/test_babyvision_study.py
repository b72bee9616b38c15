"""The BabyVision study: what its parts read of planted drawings, trainings by name, claims from made-up tables."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from configs.babyvision import quick
from experiments.babyvision import drawings, further, heads, listings, names, reading, training, verdicts
from experiments.babyvision import study as experiment
from experiments.babyvision.config import BabyVision, Drawings, Skill, Trainings
from vrjax import tasks
from vrjax.align.config import AlignConfig
from vrjax.report import claims
from vrjax.study import command, marks, numbers, registration
from vrjax.study.tables import Bench

SAME, MAZE = "draw_find_the_same", "draw_maze"
STUDY = BabyVision(
    name="tiny",
    seeds=tuple(range(8)),
    skills=(Skill(task=SAME, updates=3, seeds=8), Skill(task=MAZE, updates=2)),
    transfers=((SAME, MAZE),),
    taught=(SAME,),
    drawings=Drawings(items=12, draws=4, steps=4),
    resamples=200,
)
ASKED = registration.read(verdicts.__file__, seeds=8)


# ------------------------------------------------------------------------------------------------------------- drawings


def planted(task, clips, steps=4):
    """Frames (item, 2, step, h, w, 3): the first drawing is right from step 2 on, the second marks another thing from
    step 1 on."""
    out = []
    for clip in clips:
        still, right, wrong = (
            task.film(clip.meta["layout"], task.answers(clip.meta["layout"])[i].move) for i in (0, 0, 1)
        )
        question = still[0]
        out.append([[question, question, right[1], right[1]], [question, wrong[1], wrong[1], wrong[1]]])
    return np.array(out)[:, :, :steps]


def test_what_planted_drawings_show():
    task = tasks.get(SAME)
    clips = drawings.made(SAME, "test", 5)
    found = drawings.told(task, clips, planted(task, clips), "test", first=True)
    assert found["test right"].tolist() == [[True, False]] * 5
    assert (
        found["steps right"][:, 0].tolist() == [[False, False, True, True]] * 5 and not found["steps right"][:, 1].any()
    )
    assert found["steps settled"].tolist() == [[[False, False, True, True], [False, True, True, True]]] * 5
    assert found["kept"].shape == (5, 2) and found["kept"].min() > 40
    assert set(drawings.told(task, clips, planted(task, clips), "harder", first=False)) == {"harder right"}


def test_an_exact_denoiser_draws_a_candidate_whichever():
    """Of its answers every one is a candidate, so it marks one thing; a quarter of them are right."""
    task, spec = tasks.get(SAME), Drawings(items=24, draws=2, steps=6)
    clips = drawings.made(SAME, "test", 24)
    rows = drawings.candidates(task, clips)
    assert rows["candidates"].shape[:3] == (24, 8, 2) and np.allclose(rows["odds"].sum(1), 1)
    assert (rows["odds"] > 0).sum(1).tolist() == [4] * 24
    rows["noise"] = np.asarray(jax.random.normal(jax.random.key(0), (24, 2, *rows["candidates"].shape[2:])))
    frames = Bench(pathlib.Path(), group=8).over(drawings.exact(spec), None, rows, "exact")
    found = drawings.told(task, clips, frames, "test", first=True)
    marked = [
        task.read(clip, one[0, -1] / np.float32(127.5) - 1)["answer"] for clip, one in zip(clips, frames, strict=True)
    ]
    assert all(marked) and len(set(marked)) > 2 and 0.05 < found["test right"].mean() < 0.55


def test_who_guesses():
    """One of four options; pairs of four pictures; a way is not guessed."""
    items = [tasks.get(SAME).item(clip.meta["layout"]) for clip in drawings.made(SAME, "test", 3)]
    assert drawings.guessed(items) == pytest.approx(0.25)
    pair = tasks.get("draw_mirroring_patterns")
    assert drawings.guessed([pair.item(pair.make(0).meta["layout"])]) == pytest.approx(1 / 6)
    maze = tasks.get(MAZE)
    assert drawings.guessed([maze.item(maze.make(0).meta["layout"])]) == 0


# ---------------------------------------------------------------------------------------------------------------- heads


def test_a_head_reads_what_is_there():
    """Of features that hold the answer all is answered, of noise a quarter; the dual form is ridge regression."""
    rng = np.random.default_rng(0)
    which = rng.integers(4, size=300)
    shown = rng.normal(size=(300, 40)) + 2 * np.eye(40)[which]
    said = heads.answered(shown[:200], ["ABCD"[i] for i in which[:200]], shown[200:])
    assert np.mean([a == "ABCD"[i] for a, i in zip(said, which[200:], strict=True)]) > 0.6
    noise = rng.normal(size=(300, 400))
    said = heads.answered(noise[:200], ["ABCD"[i] for i in which[:200]], noise[200:])
    assert 0.1 < np.mean([a == "ABCD"[i] for a, i in zip(said, which[200:], strict=True)]) < 0.42
    x, wanted, more = shown[:50, :8], rng.normal(size=(50, 2)), shown[50:60, :8]
    penalty = 0.1 * np.trace(x @ x.T) / 50
    primal = more @ np.linalg.solve(x.T @ x + penalty * np.eye(8), x.T @ (wanted - wanted.mean(0))) + wanted.mean(0)
    np.testing.assert_allclose(heads.ridge(x, wanted, more, 0.1), primal, atol=1e-8)


# ------------------------------------------------------------------------------------------------------------ trainings


def test_trainings_by_name(tmp_path):
    config = lambda task, which: training.config_of(STUDY, task, which, 3, tmp_path)
    begun = config(SAME, names.SPECIALIST)
    assert (begun.steps, begun.seed, begun.data.mix, begun.start) == (3, 3, {SAME: 1.0}, None)
    model = str(tmp_path / f"seed3-{SAME}-specialist" / "model")
    longer, preferred = config(SAME, names.LONGER), config(SAME, names.PREFERRED)
    assert isinstance(preferred, AlignConfig) and not isinstance(longer, AlignConfig)
    for one in (longer, preferred):
        assert (one.start, one.steps, one.seed) == (model, STUDY.trainings.extra, 1_000_003)
        assert one.data == begun.data and one.optim.lr == STUDY.trainings.lr
    came, scratch = config(MAZE, names.transferred(SAME)), config(MAZE, names.SCRATCH)
    assert came.start == model and scratch.start is None
    assert dataclasses.replace(came, name="one", start=None) == dataclasses.replace(scratch, name="one")
    with pytest.raises(ValueError, match="no training is called 'wider'"):
        config(SAME, "wider")
    assert further.arms(STUDY, SAME) == (names.LONGER, names.PREFERRED)
    assert further.arms(STUDY, MAZE) == (names.SCRATCH, f"from {SAME}")


def test_marks_are_kept_and_nothing_is_trained_for_them(tmp_path):
    made, file = [], tmp_path / "marks.json"

    def make(name):
        made.append(name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)

    folders = {name: tmp_path / name for name in ("a", "b")}
    told = marks.of(file, folders, make)
    assert made == ["a", "b"] and told["a"] != told["b"]
    for name in folders:
        (tmp_path / name / "weights").unlink()
        (tmp_path / name).rmdir()
    assert marks.of(file, folders, make) == told and made == ["a", "b"]
    make("a")
    (tmp_path / "a" / "weights").write_text("others")
    assert marks.of(file, folders, make)["a"] != told["a"]  # what is there counts


# ------------------------------------------------------------------------------------------------------------- verdicts


def made_up(skilled=0.8, seed=0):
    """Tables of all seeds: drawings right with this share, trivial solvers with .3."""
    rng, kept, items, steps = np.random.default_rng(seed), {}, 64, 4
    for number in STUDY.seeds:
        for skill in STUDY.of(number):
            right = rng.random((items, 4)) < skilled
            final = np.sort(rng.random((items, 4, steps)) < 0.6, -1)
            final[..., -1] = True
            kept[names.part(number, skill.task, names.DRAWN)] = {
                "test right": right,
                "harder right": rng.random((items, 4)) < 0.6 * skilled,
                "hardest right": rng.random((items, 4)) < 0.3 * skilled,
                "steps right": final & right[..., None],
                "steps settled": final,
                "exact settled": np.arange(steps) + np.zeros((items, 4, 1)) == steps - 1,
                "kept": np.full((items, 4), 35.0, np.float32),
                "films": np.full((2, steps, 64, 64, 3), 200, np.uint8),
                "colours solved": rng.random(items) < 0.3,
                "random solved": rng.random(items) < 0.2,
                "guess": np.array(0.25, np.float32),
            }
            answered = {f"{arm} answered": rng.random(items) < 0.4 for arm in (names.UNTRAINED, names.PIXELS)}
            answered[f"{names.SPECIALIST} answered"] = right[:, 0] & (rng.random(items) < 0.8)
            kept[names.part(number, skill.task, names.ANSWERED)] = answered | {"drawn right": right[:, 0]}
            arms = further.arms(STUDY, skill.task)
            better = right | (rng.random(right.shape) < 0.5)
            entries = {f"{arm} right": better if arm == names.PREFERRED else right for arm in arms}
            kept[names.part(number, skill.task, names.FURTHER)] = entries
    return kept


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two processes over made-up tables, judged."""
    tables, root = made_up(), tmp_path_factory.mktemp("runs")

    def measure(what):
        return lambda study, here, seed, task, models: here.part(
            names.part(seed, task, what), lambda: tables[names.part(seed, task, what)], code=names
        )

    with pytest.MonkeyPatch.context() as other:
        other.setattr(experiment, "MEASURE", {what: measure(what) for what in names.PARTS})
        other.setattr(command, "values", lambda *_: STUDY)
        assert experiment.main(["--out", str(root), "--only", *"0123"]) == 0
        assert not (root / STUDY.name / "results.json").exists()
        assert experiment.main(["--out", str(root)]) == 0
        assert experiment.main(["--judge", str(root / STUDY.name), "--out", str(root / "again")]) == 0
    return root / STUDY.name, root / "again" / STUDY.name


def test_a_run_is_judged_and_judged_again(run):
    here, again = run
    found = {row.id: row for row in claims.read(here)}
    assert [*found] == [one["id"] for one in ASKED.claims]
    for name in ("draws", "best_of", "preferred", "harder", "gap", "agree", "early"):
        assert found[f"babyvision.{name}"].verdict == "reproduced", name
    assert claims.read(again) == claims.read(here)
    text = (here / "report.html").read_text("utf-8")
    assert "Watch an answer come about" in text and "What is drawn" in text
    assert (here / "babyvision.png").stat().st_size > 20_000
    for name in listings.TABLES:
        assert (here / f"{name}.md").read_bytes() == (again / f"{name}.md").read_bytes()
    skills = (here / "skills.md").read_text("utf-8")
    assert "| Find the same | 8 |" in skills and "| Maze | 2 |" in skills


def test_a_model_without_the_skill_gives_no_verdict_about_it():
    kept = made_up(skilled=0.2)
    found = {row.id: row.verdict for row in verdicts.claims(STUDY, ASKED, kept)}
    assert found["babyvision.draws"] == "not reproduced" or found["babyvision.draws"] == "contradicted"
    assert {found[f"babyvision.{name}"] for name in ("best_of", "preferred", "harder", "gap", "agree", "early")} == {
        "not tested"
    }


def test_numbers_by_hand():
    kept = made_up()
    seed = reading.Seed(STUDY, 0, kept)
    table = kept[names.part(0, SAME, names.DRAWN)]
    table["steps settled"] = np.zeros((1, 1, 5), bool)
    table["steps settled"][0, 0, [1, 3, 4]] = True
    assert seed.settled(SAME).tolist() == [0.75]  # from the fourth of five steps on
    assert seed.guesses(SAME).tolist() == pytest.approx([1 - 0.75**4])
    heads_of = kept[names.part(0, SAME, names.ANSWERED)]
    heads_of["specialist answered"] = np.array([1, 1, 0, 0, 1, 0, 1, 1], bool)
    heads_of["drawn right"] = np.array([1, 1, 0, 0, 0, 1, 1, 1], bool)
    agree, chance = 6 / 8, (5 / 8) ** 2 + (3 / 8) ** 2
    assert seed.kappa(SAME, names.SPECIALIST).tolist() == pytest.approx([(agree - chance) / (1 - chance)])
    assert seed.trivial(SAME).mean() == max(table[f"{name} solved"].mean() for name in ("colours", "random"))
    with pytest.raises(ValueError, match="no number of this study"):
        numbers.number(seed, ["wrong", [SAME]])
    assert numbers.values([dataclasses.replace(seed, kept={})], ["right", [SAME]]) is None


def test_what_a_study_cannot_be():
    for wrong, said in (
        ({"seeds": (0, 0)}, "expected each once"),
        ({"parts": ("drawn", "far")}, "parts: found 'far'"),
        ({"taught": ("draw_metro_map",)}, "'draw_metro_map' is no skill of this study"),
        ({"skills": (Skill(task=SAME, updates=3, seeds=9), STUDY.skills[1])}, "expected 1 to 8 seeds"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(STUDY, **wrong)
    with pytest.raises(ValueError, match="lr=0"):
        Trainings(lr=0.0)
    assert quick.config().quick

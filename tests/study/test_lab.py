"""A model and its tasks in one hand: what the lab samples is what the pipeline samples, and survives the disk."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vrjax
from vrjax import tasks
from vrjax.flow import Record
from vrjax.models import pipeline, wan
from vrjax.models.embedded import shipped
from vrjax.study import Lab, Sampled
from vrjax.tasks import maze


@pytest.fixture(scope="module")
def lab():
    return vrjax.load("worlds")


@pytest.fixture(scope="module")
def run(lab):
    taps = {"block.*": lambda h: {"size": jnp.abs(h).mean(), "most": h.max()}, "block.0.ffn": lambda h: h.mean()}
    return lab.sample("maze", clip=7, seeds=2, steps=4, taps=taps)


def test_what_a_lab_knows(lab):
    taught = tuple(name for name in tasks.names() if name != "entrant")
    assert isinstance(lab, Lab) and lab.tasks() == taught
    assert {"embed", "block.*", "block.5.ffn"} <= set(lab.sites())
    assert repr(lab) == f"Lab(worlds: {', '.join(taught)})"


def test_samples_what_the_pipeline_samples(run):
    pipe = pipeline.open(shipped.path("worlds"))
    clip = tasks.get("maze").make(7, "test")
    wanted = pipe.sample(clip, seeds=(0, 1), steps=4)
    np.testing.assert_allclose(run.trajectory.x0, wanted.x0, atol=2e-5)
    np.testing.assert_allclose(run.decode(), pipe.decode(wanted.final), atol=2e-5)
    assert run.decode().shape == (2, *clip.video.shape) and run.trajectory.taps["block.*"]["size"].shape == (2, 4, 6)


def test_verdicts_are_the_verifiers(run):
    rows = run.verdicts()
    assert [(row["seed"], row["step"]) for row in rows] == [(m, s) for m in (0, 1) for s in range(4)]
    task, last = tasks.get("maze"), [row for row in rows if row["step"] == 3]
    for row, film in zip(last, run.decode(), strict=True):  # Euler's last step lands on its own estimate
        assert row["solved"] == task.solved(run.clip, film) and row["score"] == pytest.approx(
            task.score(run.clip, film)
        )
        assert (row["answer"] == run.clip.answer) == row["solved"]
    assert repr(run) == f"Sampled(maze test 7: {sum(row['solved'] for row in last)} of 2 seeds solved)"


def test_survives_the_disk(run, tmp_path):
    again = Sampled.load(run.save(tmp_path / "maze.npz"))
    for a, b in zip(jax.tree.leaves(run.trajectory), jax.tree.leaves(again.trajectory), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.verdicts() == run.verdicts() and again.trajectory.taps.keys() == run.trajectory.taps.keys()
    with pytest.raises(FileNotFoundError):
        Sampled.load(tmp_path / "nothing.npz")


def test_seeds_may_be_coupled_and_few_steps_kept(lab):
    together = {"block.*": lambda h: jax.lax.pmean(h, "seed")}
    kept = lab.sample("pick", seeds=(3, 5), steps=4, edits=together, record=Record(steps=(0, 3), fields=("x0",)))
    alone = lab.sample("pick", seeds=(3, 5), steps=4, record=Record(steps=(0, 3), fields=("x0",)))
    assert kept.steps == (0, 3) and len(kept.verdicts()) == 4
    assert np.abs(kept.trajectory.x0 - alone.trajectory.x0).max() > 1e-3


def test_mistakes(lab, tmp_path):
    with pytest.raises(FileNotFoundError, match="unknown model .nowhere., expected one of"):
        vrjax.load("nowhere")
    with pytest.raises(ValueError, match="unknown"):
        lab.sample("maze", split="exam")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        vrjax.lode  # noqa: B018


def test_importing_the_package_brings_no_jax():
    code = "import sys, vrjax; print('jax' in sys.modules, 'flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2


DRAWN = """
###########
#S..#.....#
###.#.###.#
#...#...#.#
#.#####.#.#
#.....#.#.#
#.###.###.#
#.#.......#
#.#######.#
#.....#..G#
###########
"""


def test_a_maze_drawn_by_hand_is_a_clip_like_any(lab, tmp_path):
    clip, task = maze.drawn(DRAWN), tasks.get("maze")
    assert clip.answer == "RDLDRRDRRD" and task.solved(clip, clip.video) and task.score(clip, clip.video) == 1
    assert not task.solved(clip, np.repeat(clip.video[:1], 9, 0))
    run = lab.sample(clip, seeds=2, steps=4)
    again = Sampled.load(run.save(tmp_path / "drawn.npz"))
    assert (
        again.verdicts() == run.verdicts()
        and again.clip.meta == clip.meta
        and repr(run).startswith("Sampled(maze drawn: ")
    )


@pytest.mark.parametrize(
    "old, new, wanted",
    [
        ("#S..#", "#...#", "expected one start"),
        ("#..G#", "#.GG#", "expected one goal"),
        ("#.....#..G#", "#........G#", "there is a loop"),
        ("#...#...#.#", "###.#...#.#", "a cell is wall"),
        ("#.......#\n#.###", "#...#...#\n#.###", "no way leads from S to G"),
        ("#S..#.....#", "#S..#......", "the border is open"),
        ("###.#.###.#", "###.#.###", "expected a square"),
        ("#S..#", "#S.x#", "found the sign 'x'"),
    ],
)
def test_a_drawing_that_is_no_maze(old, new, wanted):
    assert old in DRAWN
    with pytest.raises(ValueError, match=wanted):
        maze.drawn(DRAWN.replace(old, new, 1))


def test_records_hold_every_readout_and_small_taps(run):
    rows = run.records()
    assert [row | {"answer": None} for row in run.verdicts()] == [
        {name: row[name] for name in run.verdicts()[0]} | {"answer": None} for row in rows
    ]
    assert all(set(rows[0]) == set(row) and len(row) == len(rows[0]) for row in rows)
    tap = np.asarray(run.trajectory.taps["block.*"]["size"])
    assert [row["block.*/size[5]"] for row in rows] == pytest.approx(tap[..., 5].ravel().tolist())
    assert rows[-1]["leader"] == run.clip.answer and 1 <= rows[-1]["effective"] < 1.5
    assert all(type(value) in (int, float, str, bool, type(None)) for row in rows for value in row.values())


def test_a_run_shows_its_scrubber(run):
    shown = run._repr_html_()
    case = run.case()
    assert shown.startswith("<iframe") and len(shown) < 1e6
    assert case.x0.shape[:2] == (2, 4) and case.noisy.shape == case.x0.shape
    assert [[guess.kind == "right" for guess in seed] for seed in case.guesses] == [
        [row["solved"] for row in run.verdicts() if row["seed"] == seed] for seed in (0, 1)
    ]


def test_public_weights_take_a_prompt(tmp_path):
    lab = vrjax.load(wan.tiny(tmp_path / "tiny"))
    assert repr(lab) == "Lab(Wan2.1-T2V-dim48: a prompt)" and lab.tasks() == ()
    run = lab.sample("a red ball, qz\u00fc", seeds=2, frames=5, size=(32, 32), steps=2, guidance=1.0)
    videos = run.decode()
    assert videos.shape == (2, 5, 32, 32, 3) and np.isfinite(videos).all() and videos.std() > 0.1
    assert run._repr_html_().startswith("<iframe") and run.case().x0.shape == (2, 2, 5, 32, 32, 3)
    again = Sampled.load(run.save(tmp_path / "run.npz"))
    np.testing.assert_array_equal(again.decode(), videos)
    with pytest.raises(ValueError, match="a prompt has no verifier"):
        again.verdicts()
    with pytest.raises(ValueError, match="was trained on no task"):
        lab.sample("maze")
    with pytest.raises(ValueError, match="not empty"):
        wan.tiny(tmp_path / "tiny")
    assert len(vrjax.load(wan.tiny(tmp_path / "pair", pictures=True, experts=2)).pipe.folder.networks) == 2

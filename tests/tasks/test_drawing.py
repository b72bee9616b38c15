"""Puzzles as tasks: what is drawn is judged as drawn answers are, whatever the splits and sizes."""

import numpy as np
import pytest

from vrjax import tasks
from vrjax.models.embedded import conditions
from vrjax.tasks import puzzles
from vrjax.tasks.puzzles import decoding, drawing


def test_there_is_one_of_every_subtype():
    subtypes = {tasks.get(name).subtype for name in drawing.names()}
    assert subtypes == set(puzzles.subtypes()) and len(drawing.names()) == 22
    assert not set(drawing.names()) & set(tasks.names())
    assert tasks.get("draw_maze") == tasks.get("draw_maze") != tasks.get("draw_maze", size=128)


@pytest.mark.parametrize("split", tasks.get("draw_maze").splits)
def test_a_clip_is_an_item_with_its_answer(split):
    task = tasks.get("draw_find_the_shadow")
    clip = task.make(5, split)
    told = clip.meta["layout"]
    difficulty = {"harder": 2, "hardest": 3}.get(split, 1)
    assert (told["split"], told["difficulty"]) == (split if difficulty == 1 else "test", difficulty)
    item = puzzles.make("Find the shadow", told["index"], split=told["split"], difficulty=difficulty)
    assert clip.prompt == item.prompt and clip.answer == item.answer
    shown = np.stack([item.image, item.answer_image])
    np.testing.assert_array_equal(np.round((clip.video + 1) * 127.5), shown)
    assert clip.video.shape == (2, 64, 64, 3) and clip.meta["split"] == split


def test_every_candidate_is_read_as_what_it_is():
    """Of options each could be circled, and only the right one is right; of other answers there is one."""
    task = tasks.get("draw_find_the_shadow")
    clip = task.make(1, "test")
    labels, prior = task.labels(clip, pad=False), task.prior(clip, pad=False)
    films = task.candidates(clip, pad=False)
    assert sorted(labels) == ["A", "B", "C", "D"][: len(labels)] and prior.tolist() == [1.0] + [0.0] * (len(labels) - 1)
    assert [task.read(clip, film[-1])["answer"] for film in films] == labels
    assert [task.solved(clip, film) for film in films] == [True] + [False] * (len(films) - 1)
    assert len(task.candidates(clip)) == task.slots and task.read(clip, clip.first_frame)["answer"] is None
    maze = tasks.get("draw_maze")
    clip = maze.make(1, "test")
    assert maze.labels(clip, pad=False) == [clip.answer] and maze.read(clip, clip.video[-1])["answer"] == clip.answer


def test_paint_beside_the_answer_costs_and_marks_beside_it_are_wrong():
    task = tasks.get("draw_find_the_same")
    clip = task.make(2, "test")
    dull, other = clip.video.copy(), clip.video.copy()
    dull[-1] = 0.8 * dull[-1]  # all of the picture is a tenth of the range darker; the circle stays red
    other[-1, :6, 40:] = (1.0, -1.0, -1.0)
    assert task.score(clip, clip.video) == 1.0
    assert 0.5 < task.score(clip, dull) < 1.0 and task.solved(clip, dull)
    assert task.score(clip, other) == 0.0


def test_what_the_model_is_given_is_whole():
    """With blocks of one pixel nothing is averaged, and the tokens that an answer touches are told."""
    task = tasks.get("draw_count_same_patterns")
    clip = task.make(0, "train")
    given = conditions.example(clip, codec_factor=1, text_len=32)
    np.testing.assert_array_equal(given["latent"], clip.video)
    np.testing.assert_array_equal(given["image"][-1, ..., 1:], clip.first_frame)
    marked = task.symbols(clip)["marked"]
    y, x = np.argwhere((clip.video[0] != clip.video[1]).any(-1))[0] // 8
    assert marked.shape == (2, 8, 8) and marked[1, y, x] == 1 and not marked[0].any() and 0 < marked[1].sum() < 64


def test_letters_that_cannot_be_read_are_not_asked_for():
    """At 64 pixels some cannot: number 0 of the law's own seeds could not."""
    task = tasks.get("draw_recognize_numbers_and_letters")
    for seed in range(6):
        item = task.item(task.make(seed, "test").meta["layout"])
        assert decoding.judge(item, item.answer_image)


def test_bad_options_and_videos_are_refused():
    with pytest.raises(ValueError, match=r"draw_maze: frames=9.*expected 2 frames"):
        tasks.get("draw_maze", frames=9)
    with pytest.raises(ValueError, match=r"difficulty=4.*difficulty 1 to 3"):
        tasks.get("draw_maze", difficulty=4)
    with pytest.raises(ValueError, match="unknown task 'draw_mase', did you mean 'draw_maze'"):
        tasks.get("draw_mase")
    task = tasks.get("draw_maze")
    clip = task.make(0)
    with pytest.raises(ValueError, match=r"video has shape \(1, 64, 64, 3\), expected \(2, 64, 64, 3\)"):
        task.score(clip, clip.video[1:])
    with pytest.raises(ValueError, match="not finite"):
        task.score(clip, np.full_like(clip.video, np.nan))
    with pytest.raises(ValueError, match="clip is of task 'draw_maze', expected 'draw_metro_map'"):
        tasks.get("draw_metro_map").score(clip, clip.video)

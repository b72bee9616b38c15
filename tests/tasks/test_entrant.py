"""The entrant beside an independent account of its rules, wrong films, and the readers of both ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax import tasks
from vrjax.tasks import core

TASK = tasks.Entrant()
seeds = st.integers(0, 2**62)
few = settings(max_examples=10, deadline=None)
INKS, WHOLE, SLASH = core.INKS, [[1, 1], [1, 1]], [[0, 1], [1, 0]]


def colours(frame):
    """Pixels (h, w, 3) -> colour names of the blocks, by brute force."""
    table = {tuple(np.asarray(v, np.float32)): name for name, v in core.PALETTE.items()}
    return np.array([[table[tuple(pixel)] for pixel in row] for row in frame[::4, ::4]], dtype=object)


def film(clip, look):
    return core.paint(TASK.film(clip.meta["layout"], look))


def other(clip, colour=True):
    """A look of another colour, or of another shape, than the clip's."""
    mine = TASK.looks[clip.meta["choice"]]
    return next(k for k in TASK.looks if (k[0] != mine[0]) == colour and (k[1] == mine[1]) == colour)


def spliced(clip, before, after):
    """Comes in as one look and goes out as another (None: nothing does)."""
    return np.concatenate([film(clip, before)[:6], film(clip, after)[6:]])


@few
@given(seed=seeds, split=st.sampled_from(TASK.splits))
def test_the_rules_from_pixels_alone(seed, split):
    clip = TASK.make(seed, split)
    frames = [colours(f) for f in clip.video]
    scene = frames[0]
    (rows, columns) = np.nonzero(scene == "grey")
    assert len(rows) == 8 and (np.ptp(rows), np.ptp(columns)) in ((1, 3), (3, 1))
    way = int(np.ptp(rows) == 3)  # 0: along the columns
    turned = [f.T if way else f for f in frames]
    across = (columns if way else rows).min()
    ends = {name: {int(x) for x in np.nonzero(turned[0][across : across + 2] == name)[1]} for name in ("clay", "wall")}
    assert sorted(map(tuple, ends.values())) == [(0,), (7,)]
    assert (turned[0] == "clay").sum() == (turned[0] == "wall").sum() == 2
    enter = slice(0, 2) if ends["clay"] == {0} else slice(6, 8)
    leave = slice(6, 8) if ends["clay"] == {0} else slice(0, 2)
    colour, form = clip.answer.split()
    for f, shown in enumerate(turned):
        left = turned[0].copy()
        if f in (1, 2, 6, 7, 8):
            place = left[across : across + 2, enter if f < 3 else leave]
            place[np.array({"square": WHOLE, "slash": SLASH}[form], bool)] = colour
            assert (shown[across : across + 2, enter if f < 3 else leave] == colour).sum() == {"square": 4}.get(form, 2)
        assert (shown == left).all(), f  # the slash is its own transpose
    clutter = np.argwhere(np.isin(scene, INKS))
    assert 1 <= len(clutter) <= 8
    assert all(abs((b[1] if way else b[0]) - across - 0.5) > 1.5 for b in clutter)
    assert not any(ink in clip.prompt for ink in INKS) and clip.prompt == TASK.make(0).prompt


def test_wrong_films_score_nothing():
    for seed in range(100):
        clip = TASK.make(seed, "test")
        mine = TASK.looks[clip.meta["choice"]]
        rng = np.random.default_rng(seed)
        for right in (clip.video, clip.video + 0.1 * rng.normal(size=clip.video.shape), film(clip, other(clip))):
            assert TASK.score(clip, right) == 1.0 and TASK.solved(clip, right)
        repainted, reshaped = spliced(clip, mine, other(clip)), spliced(clip, mine, other(clip, colour=False))
        late = np.concatenate([film(clip, None)[:3], clip.video[3:]])
        for wrong in (repainted, reshaped, spliced(clip, mine, None), late, clip.video[::-1], film(clip, None)):
            assert TASK.score(clip, wrong) == 0.0 and not TASK.solved(clip, wrong)
        assert not TASK.solved(clip, np.repeat(clip.first_frame[None], 9, axis=0))


def test_another_clips_truth_is_wrong_unless_the_scene_is_the_same():
    made = [TASK.make(seed, "test") for seed in range(40)]
    for a in made:
        for b in made:
            same = np.array_equal(a.first_frame, b.first_frame)
            assert TASK.solved(a, b.video) == same


def test_readers():
    for seed in range(60):
        clip = TASK.make(seed, "val")
        choice = clip.meta["choice"]
        mine, ink = TASK.looks[choice], INKS.index(TASK.looks[choice][0])
        again = other(clip)
        k, rng = TASK.looks.index(again), np.random.default_rng(seed)
        films = np.stack([clip.video, spliced(clip, mine, again), spliced(clip, mine, None), film(clip, None)])
        latents = core.block_mean(films)
        exact, lenient, soft = (read(clip, latents) for read in (TASK.exact, TASK.lenient, TASK.soft))
        assert exact.entrance.tolist() == [choice] * 3 + [-1] and exact.exit.tolist() == [choice, k, -1, -1]
        assert lenient.entrance.tolist() == [ink] * 3 + [-1]
        assert lenient.exit.tolist() == [ink, INKS.index(again[0]), -1, -1]
        assert soft.entrance.tolist()[:3] == [choice] * 3 and soft.exit.tolist()[:2] == [choice, k]
        noisy = TASK.exact(clip, latents + 0.05 * rng.normal(size=latents.shape))
        assert np.array_equal(noisy.entrance, exact.entrance) and np.array_equal(noisy.exit, exact.exit)
        # a lone wrong block far from the lane: no longer exact, still legible
        torn = latents[0].copy()
        scene = core.nearest(torn[0], TASK.colours)
        y, x = np.argwhere(scene == core.INDEX["floor"])[0]
        torn[:, y, x] = core.COLOURS[core.INDEX["wall"]]
        assert TASK.exact(clip, torn).exit == TASK.exact(clip, torn).entrance == -1
        if not TASK.doors(clip.meta["layout"])[:, y, x].any():
            assert TASK.lenient(clip, torn).entrance == TASK.lenient(clip, torn).exit == ink
        # blurred towards the mean of all looks, and so not legible, yet one look is nearest
        mean = core.block_mean(np.stack([film(clip, look) for look in TASK.looks])).mean(0)
        blurred = TASK.soft(clip, np.stack([[0.4 * mean + 0.6 * latents[0]]]))
        assert blurred.entrance.shape == (1, 1) and blurred.entrance == blurred.exit == choice
        # an ink with three quarters of the inked blocks is read, one with two thirds is not
        lane = np.argwhere(TASK.doors(clip.meta["layout"])[1])
        for count, found in ((3, ink), (2, -1)):
            mixed = core.block_mean(film(clip, None))
            for y, x in lane[:count]:
                mixed[-1, y, x] = core.COLOURS[core.INDEX[mine[0]]]
            y, x = lane[3]
            mixed[-1, y, x] = core.COLOURS[core.INDEX[again[0]]]
            assert TASK.lenient(clip, mixed).exit == found
    with pytest.raises(ValueError, match="latents have shape"):
        TASK.exact(clip, latents[..., :7, :])


def test_what_a_frame_shows():
    clip = TASK.make(3, "test")
    look = " ".join(TASK.looks[clip.meta["choice"]])
    seen = [TASK.read(clip, frame) for frame in clip.video]
    assert [s["scene"] for s in seen] == [True] * 9
    assert [s["entrance"] for s in seen] == [None, look, look, *[None] * 6]
    assert [s["exit"] for s in seen] == [*[None] * 6, look, look, look]


def test_looks_are_even_and_independent_of_the_layout():
    clips = [TASK.make(seed, "train") for seed in range(2400)]
    counts = np.bincount([c.meta["choice"] for c in clips], minlength=12)
    assert ((counts - 200) ** 2 / 200).sum() < 31.3  # chi-square, 11 degrees of freedom, p = 0.001
    keys = {}
    for c in clips:
        keys.setdefault(TASK.key(c.meta["layout"]), []).append(c.meta["choice"])
    assert 1000 < len(keys) < 2200  # of them
    often = [found for found in keys.values() if len(found) > 3]
    assert often and np.mean([len(set(found)) > 1 for found in often]) > 0.9


@pytest.mark.parametrize("shapes", [1, 3])
def test_other_numbers_of_shapes(shapes):
    task = tasks.Entrant(shapes=shapes)
    clip = task.make(5, "test")
    assert len(task.candidates(clip)) == 6 * shapes and task.score(clip, clip.video) == 1.0
    assert task.exact(clip, core.block_mean(clip.video)).exit == clip.meta["choice"]
    with pytest.raises(ValueError, match="shapes"):
        tasks.get("entrant", shapes=4)


def test_symbols_say_where_and_what():
    for seed in range(20):
        clip = TASK.make(seed)
        symbols, raster = TASK.symbols(clip), core.nearest(core.block_mean(clip.video), TASK.colours)
        ink = core.INDEX[INKS[symbols["colour"][0, 0, 0]]]
        assert np.array_equal(symbols["agent"].sum((1, 2)), [0, 1, 1, 0, 0, 0, 1, 1, 1])
        assert np.array_equal(symbols["hidden"][:, 0, 0], [0, 0, 0, 1, 1, 1, 0, 0, 0])
        where = symbols["agent"].repeat(2, axis=1).repeat(2, axis=2).astype(bool)
        bare = [core.INDEX[name] for name in ("floor", "clay", "wall")]
        assert np.isin(raster[where], [ink, *bare]).all() and (raster == ink)[where].any()
        assert (symbols["answer"][-1] == symbols["agent"][-1]).all()
        assert (symbols["entrance"][1] == symbols["agent"][1]).all()

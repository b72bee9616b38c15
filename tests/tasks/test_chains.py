"""Causal chains: rules against chains worked out by hand, the reader, the captions, the metrics."""

import numpy as np
import pytest

from vrjax.reasoning.thoughts import pictures
from vrjax.tasks.chains import rules, score, sprites, words

FRAMES = 8


def levels(film):
    """Levels of a film of state indices, as strings of digits per frame."""
    return ["".join(str(rules.LEVEL[s]) for s in row) for row in film]


# By hand: the ball drops at 1; each neighbour follows a frame later; a cup needs two frames.
CHAINS = {
    "ball domino cup lamp egg gap": "000000 100000 110000 111000 112000 112100 112110 112110",
    "domino gap lamp tap domino ball": "000000 000001 000011 000111 001111 101111 101111 101111",  # light crosses a gap
    "ball domino gap domino lamp tap": "000000 100000 110000 110000 110000 110000 110000 110000",  # a domino does not
    "ball domino scale lamp tap ball": "000000 100001 110011 110111 111111 111111 111111 111111",  # both sides push
    "ball tap scale lamp tap duck": "000000 100000 110000 110000 110000 110000 110000 110000",  # one side only
}


@pytest.mark.parametrize("kinds", CHAINS)
def test_films_by_hand(kinds):
    assert levels(rules.unfold(kinds.split(), FRAMES)) == CHAINS[kinds].split()
    mirrored = rules.unfold(kinds.split()[::-1], FRAMES)[:, ::-1]
    np.testing.assert_array_equal(mirrored, rules.unfold(kinds.split(), FRAMES))


def test_causes_by_hand():
    kinds = "ball domino scale lamp tap ball".split()
    assert sorted(rules.edges(kinds, FRAMES)) == [(0, 1), (1, 2), (3, 2), (4, 3), (5, 4)]
    reach = rules.ancestry(kinds, FRAMES)
    assert reach[5, 2] and reach[0, 2] and not reach[0, 3] and not reach[2].any()
    # pushed from both sides at once, the domino needed neither
    assert rules.edges("ball domino ball".split(), FRAMES) == []


def test_wrong_rules_by_hand():
    kinds = "ball domino tap cup gap lamp".split()
    films = {how: levels(rules.wrong(kinds, FRAMES, how)) for how in rules.WRONG}
    assert films["together"][:3] == ["000000", "111100", "111200"]
    assert films["reversed"][1:6] == ["000100", "001200", "011200", "111200", "111200"]
    assert films["through"][-1] == "111201"
    assert films["stops"][-1] == "110000"
    assert films["skips"][-1] == "110200"
    with pytest.raises(ValueError, match="unknown wrong rule 'sideways'"):
        rules.wrong(kinds, FRAMES, "sideways")


def test_splits():
    here = rules.Chains()
    keys = {s: {here.key(c.meta["layout"]) for c in rules.numbered(here, s, 40)} for s in here.splits}
    assert not keys["train"] & keys["test"] and not keys["val"] & keys["test"] and len(keys["test"]) == 40
    shows = lambda clip: rules.novel(here.film(clip.meta["layout"], "true")[:, 0]).any()
    for split in here.splits:
        assert 10 < sum(shows(c) for c in rules.numbered(here, split, 40)) < 30
    for clip in rules.numbered(here, "test", 5):
        assert here.score(clip, clip.video) == 1.0 and here.score(clip, clip.video[:1].repeat(FRAMES, 0)) == 0.0
        labels = here.labels(clip, pad=False)
        assert labels[0] == "true" and len(set(labels)) == len(labels) >= 4
    with pytest.raises(ValueError, match="expected 3 to 8 cells"):
        rules.Chains(cells=9)


# The reader ----------------------------------------------------------------------------------------------------------


def test_sprites_are_read_exactly_and_ghosts_are_not():
    states = np.random.default_rng(0).integers(0, len(sprites.SYMBOLS), (3, FRAMES, 6))
    video = sprites.render(states)
    np.testing.assert_array_equal(sprites.decode(video), states)
    np.testing.assert_array_equal(sprites.decode(pictures.to_float(pictures.to_uint8(video))), states)
    noise = 0.1 * np.random.default_rng(1).standard_normal(video.shape)
    np.testing.assert_array_equal(sprites.decode(video + noise), states)
    other = sprites.render((states + 1) % len(sprites.SYMBOLS))
    assert (sprites.decode(0.5 * (video + other)) == -1).all()  # half of each is neither
    assert (sprites.decode(np.zeros_like(video)) == -1).all()
    far = sprites.distances(sprites.TEMPLATES.reshape(-1, 8, 8, 3))[:, 0]
    assert far[~np.eye(len(far), dtype=bool)].min() > 2 * sprites.REJECT
    with pytest.raises(ValueError, match="not finite"):
        sprites.decode(video * np.nan)
    with pytest.raises(ValueError, match="expected .*cells"):
        sprites.decode(video[..., :47, :])


def test_another_kind_counts_as_nothing():
    video = sprites.render(np.array([[rules.symbol("lamp", 1), rules.symbol("cup", 2)]]))
    assert score.read(video, ("lamp", "domino")).tolist() == [[rules.symbol("lamp", 1), -1]]


# Captions ------------------------------------------------------------------------------------------------------------


def test_captions_and_their_rows():
    row = rules.first_row("ball cup gap".split())
    text = words.caption(row)
    assert text == "ball held, cup empty, gap"
    np.testing.assert_array_equal(words.parse(text), row)
    one, story = words.encode(text, 3), words.encode(f"{text}. Then {text}.", 8)
    np.testing.assert_array_equal(story[:3], one)
    assert (story[6:] == 0).all() and not np.array_equal(story[3:6], one)
    grams = story[:6] @ story[:6].T / words.DIM
    assert np.linalg.matrix_rank(story) == 6 or grams.max() <= 1 + 1e-6
    end = words.encode(words.augmented(text, text), 6)
    assert not np.array_equal(end[3:], story[3:6]) and np.array_equal(end[:3], one)
    for bad, message in (
        (f"{text}, egg fried", "unknown element 'egg fried'"),
        (". Then ".join([text] * 5), "5 thoughts"),
    ):
        with pytest.raises(ValueError, match=message):
            words.encode(bad, 24)
    with pytest.raises(ValueError, match="6 rows, expected at most 5"):
        words.encode(f"{text}. Then {text}.", 5)
    with pytest.raises(ValueError, match=r"cells \[1\] show nothing"):
        words.caption(np.array([0, -1]))


# Metrics -------------------------------------------------------------------------------------------------------------

KINDS = ("ball", "domino", "cup", "lamp", "egg", "gap")


@pytest.fixture(scope="module")
def scene():
    return score.truth(KINDS, FRAMES)


def judged(film, scene):
    return score.score(sprites.render(film), scene)


def test_the_truth_scores_one(scene):
    assert judged(scene.film, scene) == dict.fromkeys(score.METRICS, 1.0)


def test_a_frozen_first_frame(scene):
    found = judged(np.tile(scene.film[0], (FRAMES, 1)), scene)
    assert found["primary"] == found["completion"] == found["order"] == found["motion"] == found["appearance"] == 0
    assert found["no_violation"] == 1 and found["distinct"] < 0.2


def test_wrong_orders(scene):
    for how in ("reversed", "together"):
        film = rules.wrong(KINDS, FRAMES, how)
        found = judged(film, scene)
        assert found["primary"] == 0 and found["completion"] == 1 and found["no_violation"] == 0
        assert found["order"] == 0 and found["order_all"] == 0
    skipped = judged(rules.wrong(KINDS, FRAMES, "skips"), scene)
    assert skipped["no_violation"] == 0 and skipped["completion"] == 0 and 0 < skipped["order"] < 1


def test_late_is_lawful_and_back_is_not(scene):
    late = np.concatenate([scene.film[:1], scene.film[:-1]])
    found = judged(late, scene)
    assert (
        found["no_violation"] == 1 and found["states"] == 1 and found["primary"] == 1
    )  # it rests one frame at the end
    later = judged(np.concatenate([scene.film[:1]] * 3 + [scene.film[:-3]]), scene)
    assert later["no_violation"] == 1 and later["states"] < 1 and later["completion"] == 0
    back = scene.film.copy()
    back[4, 1] = scene.film[0, 1]
    assert judged(back, scene)["no_violation"] == 0
    jump = scene.film.copy()
    jump[jump == rules.symbol("cup", 1)] = rules.symbol("cup", 2)
    assert judged(jump, scene)["no_violation"] == 0
    begun = judged(np.concatenate([scene.film[1:], scene.film[-1:]]), scene)
    assert begun["no_violation"] == 0  # the first frame is not the scene's


def test_ghosts_are_wrong(scene):
    video = sprites.render(scene.film)
    video[-1, :, 32:40] = 0.5 * (video[0, :, 32:40] + video[-1, :, 32:40])  # half an egg, half a broken one
    found = score.score(video, scene)
    assert found["primary"] == found["appearance"] == 0 and found["readable"] == pytest.approx(1 - 1 / 48)
    with pytest.raises(ValueError, match="score: video has shape"):
        score.score(video[:-1], scene)

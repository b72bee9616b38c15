"""HumanML3D's protocol: measures against plain statements of them, and a public folder made up."""

import jax
import numpy as np
import pytest
import scipy.linalg

from vrjax.bench import humanml3d

LINES = {
    "000001": [
        "a man walks#a/DET man/NOUN walk/VERB#0.0#0.0",
        "he walks on#he/PRON walk/VERB on/ADP#1.0#4.5",
        "he walks on#he/PRON walk/VERB on/ADP#nan#nan",
    ],
    "M000002": ["someone jumps#someone/PRON jump/VERB#0.0#0.0"],
}


def small_folder(folder):
    """A folder like the public one: two motions with captions, and the list of them."""
    (folder / "texts").mkdir(parents=True)
    for name, lines in LINES.items():
        (folder / "texts" / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "test.txt").write_text("\n".join(LINES) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    text = rng.normal(size=(150, 6))
    return text, text + 1.2 * rng.normal(size=text.shape), 0.5 + rng.normal(size=(170, 6)) @ rng.normal(size=(6, 6))


def test_r_precision_is_the_rank_inside_batches(features):
    text, motion, _ = features
    ranks = []
    for i in range(128):  # 150 pairs are four batches of 32; the rest is left out
        batch = range(i // 32 * 32, i // 32 * 32 + 32)
        mine = np.linalg.norm(text[i] - motion[i])
        ranks.append(sum(np.linalg.norm(text[i] - motion[j]) < mine for j in batch))
    wanted = [np.mean(np.array(ranks) <= k) for k in range(3)]
    found = humanml3d.r_precision(text, motion, batch=32)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, wanted, atol=1e-15)
    assert 0.1 < found[0] < found[2] < 0.9, "the case must tell ranks apart"
    np.testing.assert_array_equal(humanml3d.r_precision(text, text), 1.0)
    wanted = np.mean([np.linalg.norm(text[i] - motion[i]) for i in range(150)])
    assert humanml3d.mm_dist(text, motion) == pytest.approx(wanted)


def test_equal_motions_count_by_their_order():
    same = np.zeros((32, 2))
    np.testing.assert_allclose(humanml3d.r_precision(same, same), [1 / 32, 2 / 32, 3 / 32])


def test_fid_is_the_frechet_distance(features):
    text, _, truth = features
    a, b = np.cov(text, rowvar=False), np.cov(truth, rowvar=False)
    gap = text.mean(0) - truth.mean(0)
    wanted = gap @ gap + np.trace(a + b - 2 * np.real(scipy.linalg.sqrtm(a @ b)))
    assert humanml3d.fid(text, truth) == pytest.approx(wanted, rel=1e-9)
    assert humanml3d.fid(text, truth) == pytest.approx(humanml3d.fid(truth, text), rel=1e-9)
    assert humanml3d.fid(text, text[::-1]) < 1e-9
    assert humanml3d.fid(text, text + 3.0) == pytest.approx(9.0 * 6)
    flat = np.zeros((40, 6))  # fewer directions than features: the product has no root of its own
    flat[:, 0] = np.arange(40)
    assert humanml3d.fid(flat, flat * 2) == pytest.approx(19.5**2 + flat[:, 0].var(ddof=1), rel=1e-9)


def test_diversity_and_multimodality_are_mean_distances_of_pairs(features):
    text, *_ = features
    key = jax.random.key(3)
    line = np.arange(400.0)[:, None]  # the distance of two rows is the difference of their numbers
    first, second = (np.asarray(jax.random.permutation(k, 400))[:300] for k in jax.random.split(key))
    assert humanml3d.diversity(line, key=key) == pytest.approx(np.abs(first - second).mean())
    assert len(set(first)) == 300
    many = np.stack([line[:30, 0] * scale for scale in (1.0, 0.0, 3.0)])[..., None]
    expected = np.mean([abs(a - b) for a in range(30) for b in range(30)]) * 4 / 3
    draws = [humanml3d.multimodality(many, key=jax.random.key(k)) for k in range(200)]
    assert np.mean(draws) == pytest.approx(expected, rel=0.05) and len(set(draws)) > 50
    assert humanml3d.multimodality(many) == humanml3d.multimodality(many)
    assert humanml3d.diversity(text, 100) == humanml3d.diversity(text, pairs=100, key=jax.random.key(0))


def test_the_protocol_replicates_and_sums_up(features):
    text, motion, truth = features
    rows = {
        "ground-truth": humanml3d.Features(text, text, text),
        "mine": humanml3d.Features(text, motion, truth, np.random.default_rng(1).normal(size=(5, 12, 6))),
    }
    key = jax.random.key(0)
    scores = {row: humanml3d.evaluate(each, key, repeats=4, pairs=50) for row, each in rows.items()}
    assert scores["mine"] == humanml3d.evaluate(rows["mine"], key, repeats=4, pairs=50)
    real, mine = humanml3d.summary(scores)
    assert (real["top1"], real["mm_dist"], real["multimodality"]) == (1.0, 0.0, None)
    values = [score.fid for score in scores["mine"]]
    assert mine["fid"] == pytest.approx(np.mean(values)) and len(set(values)) == 4
    assert mine["fid interval"] == pytest.approx(1.96 * np.std(values) / 2)
    assert mine["multimodality"] > 1
    head, body = humanml3d.cells([real, mine])
    assert body[0][1] == "1.000 ± 0.000" and body[0][-2:] == ["-", "4"] and len(body[1]) == len(head)

    asked = []
    anew = humanml3d.evaluate(lambda n: asked.append(n) or rows["mine"], key, repeats=3, pairs=50)
    assert asked == [0, 1, 2] and anew == scores["mine"][:3]
    with pytest.raises(ValueError, match="the row ground-truth is missing, found mine"):
        humanml3d.summary({"mine": scores["mine"]})
    with pytest.raises(ValueError, match="mine has other replications"):
        humanml3d.summary(scores | {"mine": anew})


class Counting:
    """An evaluator that numbers captions by their words, and takes where a motion begins."""

    name = "counting"

    def texts(self, captions):
        return np.array([[len(caption.split()), 0.0] for caption in captions])

    def motions(self, joints):
        return np.asarray(joints)[:, 0, 0, :2]


def test_an_evaluator_gives_the_features_of_a_row():
    joints = np.arange(3 * 2 * 22 * 3.0).reshape(3, 2, 22, 3)
    many = np.stack([joints, joints + 1, joints, joints])  # four texts, three motions each
    found = humanml3d.encode(Counting(), ["a b", "c", "d e f"], joints, joints[1:], many)
    np.testing.assert_array_equal(found.text[:, 0], [2, 1, 3])
    np.testing.assert_array_equal(found.motion, joints[:, 0, 0, :2])
    np.testing.assert_array_equal(found.truth, found.motion[1:])
    assert found.many is not None and found.many.shape == (4, 3, 2)
    np.testing.assert_array_equal(found.many[1], found.motion + 1)
    assert humanml3d.encode(Counting(), ["a"], joints[:1], joints).many is None


def test_a_table_says_whose_numbers_these_are(features):
    text, motion, truth = features
    scores = humanml3d.evaluate(humanml3d.Features(text, motion, truth), jax.random.key(0), repeats=2, pairs=50)
    lines = humanml3d.summary({"ground-truth": scores})
    assert humanml3d.cells(lines, "counting")[0][0] == "row, by counting"
    assert humanml3d.cells(lines)[0][0] == "row"


def test_features_that_are_no_features(features):
    text, motion, _ = features
    for call, message in (
        (lambda: humanml3d.r_precision(text, motion[:-1]), r"motion: expected \(150, 6\), .* found \(149, 6\)"),
        (lambda: humanml3d.r_precision(text[:9], motion[:9]), "batch: expected 3 to 9, the number of pairs, found 32"),
        (lambda: humanml3d.fid(text, motion[:, :3]), "b: expected 6 features as a has, found 3"),
        (lambda: humanml3d.fid(text[:1], text), "a: expected 2 axes and at least 2 rows"),
        (lambda: humanml3d.diversity(text), "pairs: expected 1 to 150, the number of features, found 300"),
        (lambda: humanml3d.mm_dist(text * np.inf, motion), "text: expected finite features, found"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_captions_of_a_public_folder(tmp_path):
    root = small_folder(tmp_path / "data")
    items = humanml3d.read(root)
    assert [(item.name, item.line) for item in items] == [("000001", 0), ("000001", 1), ("000001", 2), ("M000002", 0)]
    assert items[1].tokens == ("he/PRON", "walk/VERB", "on/ADP") and (items[1].start, items[1].end) == (1.0, 4.5)
    assert (items[2].start, items[2].end) == (0.0, 0.0)
    rows = np.arange(120.0)[:, None]
    np.testing.assert_array_equal(humanml3d.part(items[1], rows), rows[20:90])
    assert humanml3d.part(items[0], rows) is rows
    assert humanml3d.part(items[0], rows[:39]) is None and humanml3d.part(items[0], np.zeros((200, 1))) is None


def test_folders_that_are_not_public(tmp_path):
    root = small_folder(tmp_path / "data")
    with pytest.raises(ValueError, match="split: expected one of train, .*, found 'tset'"):
        humanml3d.read(root, split="tset")
    with pytest.raises(FileNotFoundError, match="val.txt: no such file"):
        humanml3d.read(root, split="val")
    (root / "texts" / "000001.txt").write_text("no tags at all\n")
    with pytest.raises(ValueError, match=r"000001.txt: line 1: expected caption#tokens#start#end, found 1 parts"):
        humanml3d.read(root)
    (root / "texts" / "000001.txt").unlink()
    with pytest.raises(FileNotFoundError, match="000001.txt"):
        humanml3d.read(root)
    (root / "test.txt").write_text("../../etc/passwd\n")
    with pytest.raises(ValueError, match="expected names of motions, found '../../etc/passwd'"):
        humanml3d.read(root)

"""The command of the ViMoGen study, its parts and its page, with made-up tables in the place of all models."""

import dataclasses
import json
import re

import numpy as np
import pytest
from motion_tables import STUDY, made_up

from experiments.vimogen import arms, listings, names, page, reading
from experiments.vimogen import study as experiment
from experiments.vimogen.config import SETS
from vrjax.motion import program
from vrjax.report import claims
from vrjax.study.tables import Bench

SMALL = dataclasses.replace(STUDY, resamples=50, items=32)
TABLES = made_up(SMALL)
MEASURED = []  # parts, in order
STOP = []  # parts at which a process is killed


class Seed:
    """In the place of `arms.Seed`: parts that are kept as its are, and no model."""

    def __init__(self, study, here, video, judges, number):
        assert (video, judges) == ("video", "judges")
        self.study, self.here, self.number = study, here, number

    def part(self, what, make=None, **how):
        def measured():
            if (self.number, what) in STOP:
                raise KeyboardInterrupt
            MEASURED.append((self.number, what))
            return TABLES[names.part(self.number, what)] if make is None else make()

        return self.here.part(names.part(self.number, what), measured, code=names, **how)

    def measure(self, arm):
        return self.part(arm)

    def told(self, which):
        return self.part(names.ITEMS, of=sorted({names.STUDENT, names.CONTROL} & {*which}))

    def clips(self):
        return self.part(names.CLIPS)

    def curves(self, trainings):
        curve = np.float32([0.9, 0.4])
        make = lambda: {f"{name} {what}": curve for name in trainings for what in ("text", "seconds")}
        return self.part(names.TRAINING, make, of=list(trainings))

    def shown(self, which):
        rng, n = np.random.default_rng(0), self.study.items
        items = np.concatenate([np.arange(i * n, i * n + 6) for i in range(len(SETS))])
        make = lambda: {"items": items} | {arm: rng.normal(size=(18, 8, 22, 3)).astype(np.float32) for arm in which}
        return self.part(names.SHOWN, make, of=list(which), packed=False)


@pytest.fixture(scope="module", autouse=True)
def no_models():
    with pytest.MonkeyPatch.context() as other:
        other.setattr(arms, "Seed", Seed)
        other.setattr(experiment.films, "opened", lambda: "video")
        other.setattr(experiment.measuring, "judges", lambda folder: "judges")
        other.setattr(experiment.command, "values", lambda *_: SMALL)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that was measured by two processes, the second of which was killed."""
    root = tmp_path_factory.mktemp("runs")
    assert experiment.main(["--out", str(root), "--only", "0", "2", "4", "6"]) == 0
    assert not (root / SMALL.name / "results.json").exists()
    STOP.append((3, names.LIFTED))
    assert experiment.main(["--out", str(root), "--only", "1", "3", "5", "7"]) == 130
    STOP.clear()
    before = len(MEASURED)
    assert MEASURED[-1] == (1, names.LIFTED)
    assert experiment.main(["--out", str(root)]) == 0
    assert MEASURED[before] == (3, names.LIFTED) and len(set(MEASURED)) == len(MEASURED)
    return root / SMALL.name


def test_parts_are_measured_once_and_in_the_printed_order(run):
    first = [what for number, what in MEASURED if number == 0]
    order = [arm for part in experiment.PARTS.values() for arm in part]
    assert [arm for arm in first if arm in names.ARMS] == order and {*order} == {*names.ARMS}
    assert first.index(names.STUDENT) < first.index(names.ITEMS) < first.index(names.LIFTED)
    assert [number for number, what in MEASURED if what == names.SHOWN] == [0]
    even = [number for number, what in MEASURED if what == names.T2M and number % 2 == 0]
    assert even == [0, 2, 4, 6]
    assert len(MEASURED) == 8 * (len(names.ARMS) + 3) + 1  # items, clips, curves; bodies of the first


def test_writes_everything_a_reader_needs(run):
    found = {row.id: row for row in claims.read(run)}
    assert found["vimogen.distilled"].verdict == "reproduced" and len(found) == 16
    arms_of = claims.read_details(run)["arms"]
    assert [row["arm"] for row in arms_of] == list(listings.ORDER) and "S, rules" in arms_of[0]
    for name in ("arms", "gate", "data", "judges"):
        assert (run / f"{name}.md").read_text().startswith("| ")
    assert "more mocap | 1 |" in (run / "data.md").read_text()  # core seconds, rounded
    assert (run / "vimogen.png").stat().st_size > 10_000
    text = (run / "report.html").read_text("utf-8")
    for said in ("What the arms do", "What the gate does", "V: unseen verbs, distilled", "which films to trust"):
        assert said in text
    with np.load(run / "tables" / "seed0-training.npz") as stored:
        assert {"teacher text", "teacher seconds", "synthetic text"} <= {*stored.files}
        assert "untrained text" not in stored.files


def test_bodies_are_chosen_by_a_rule_and_marked_by_both_judges(run):
    (seed, *_) = reading.gathered(SMALL, TABLES)
    kept = Seed(SMALL, Bench(run), "video", "judges", 0).shown([names.TRUTH, *page.SHOWN])
    bodies = page.bodies(seed, kept)
    assert [re.match("[SCV]", body.name)[0] for body in bodies] == ["S", "S", "C", "C", "V", "V"]
    numbers = [int(body.name.split()[-1]) for body in bodies]
    assert (
        numbers[:4] == [0, 1, 32, 33]
        and seed.where("distilled")[numbers[4]]
        and seed.where("not distilled")[numbers[5]]
    )
    for body, item in zip(bodies, numbers, strict=True):
        assert body.seeds == page.SHOWN and body.joints.shape == (7, 1, 8, 22, 3)
        both = [[bool(seed.table(arm)[judge][item]) for judge in ("rules", "recogniser")] for arm in page.SHOWN]
        assert body.solved == tuple(all(pair) for pair in both)
        assert body.outcomes[0] == ("solved" if all(both[0]) else body.outcomes[0])
        script = program.Script(*(int(column[item]) for column in seed.script))
        assert body.prompt == program.caption(script, paraphrase=item % 32 % 3)
        assert body.note == f"The gate takes {'M2M' if seed.choices[names.ADAPTIVE][item] else 'T2M'}."
        at = int(np.flatnonzero(kept["items"] == item)[0])
        moved = body.joints[2, 0] - kept[names.M2M][at]
        np.testing.assert_allclose(moved, np.broadcast_to(moved[0, 0], moved.shape), atol=1e-5)  # as a whole
        np.testing.assert_allclose(body.joints[2, 0, 0, 0, :2], 0, atol=1e-6)
        assert body.joints[2, 0, ..., 2].min() == pytest.approx(0, abs=1e-6)


def test_some_parts_and_wrong_words(run, tmp_path, capsys):
    for words, said in (
        (["--only", "8"], "positions 0 to 7"),
        (["--parts", "branch"], "unknown part 'branch', expected some of branches, students"),
        (["--parts", "lifted"], "expected branches among them"),
    ):
        assert experiment.main(["--out", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err
    assert experiment.main(["--out", str(tmp_path), "--parts", "branches", "lifted"]) == 0
    found = {row.id: row for row in claims.read(tmp_path / SMALL.name)}
    assert {"vimogen.gate_best", "vimogen.text_cleaner", "vimogen.refines"} <= set(found)
    assert "vimogen.distilled" not in found and "vimogen.lifted" not in found  # no control
    assert found["vimogen.gate_knows"].verdict == "reproduced"


def test_judged_again_as_the_run_was(run, tmp_path, capsys):
    assert experiment.main(["--judge", str(run), "--out", str(tmp_path)]) == 0
    assert claims.read(tmp_path / SMALL.name) == claims.read(run)
    for name in ("arms", "gate", "data", "judges"):
        assert (tmp_path / SMALL.name / f"{name}.md").read_bytes() == (run / f"{name}.md").read_bytes()
    assert (tmp_path / SMALL.name / "vimogen.png").read_bytes() == (run / "vimogen.png").read_bytes()


def test_the_picture_has_a_forest_for_each_kind_of_prompt():
    drawn = page.drawn(SMALL, TABLES)
    assert [[forest.title[:1] for forest in row] for row in drawn] == [["S", "C"], ["V", "V"]]
    assert [effect.name for effect in drawn[0][0].arms] == list(listings.ORDER)
    few = {name: table for name, table in TABLES.items() if not name.endswith("student")}
    assert "student" not in [effect.name for effect in page.drawn(SMALL, few)[0][0].arms]
    assert json.dumps(listings.plain(listings.arm_rows(SMALL, reading.gathered(SMALL, few))))

"""Gates by hand, and the search of their thresholds."""

import itertools

import numpy as np
import pytest

from experiments.vimogen import arms, gates, names, search
from experiments.vimogen.config import Gate, ViMoGen
from vrjax.motion import program

YES, NO = True, False


def test_a_film_is_trusted_where_it_is_calm_and_near():
    jitter, cosine = [0.01, 0.03, 0.01, 0.02, 0.01], [0.9, 0.9, 0.2, 0.9, 0.5]
    found = gates.adaptive(np.array(jitter), np.array(cosine), Gate(jitter=0.02, cosine=0.5))
    assert found.tolist() == [YES, NO, NO, NO, NO]  # at a threshold it is not
    assert gates.adaptive(jitter, cosine, Gate(jitter=1.0, cosine=-1.0)).all()


def test_the_oracle_takes_the_film_where_that_alone_helps():
    text, motion = [NO, NO, YES, YES], [NO, YES, NO, YES]
    chosen = gates.oracle(text, motion)
    assert chosen.tolist() == [NO, YES, NO, NO]
    assert gates.mixed(chosen, text, motion).tolist() == [NO, YES, YES, YES]  # either branch


def test_a_random_gate_is_the_mean_of_all_permutations_within_groups():
    chosen, groups = np.array([YES, YES, NO, NO, NO, YES, NO]), np.array([5, 5, 5, 5, 2, 7, 2])
    every = [np.array(order) for order in itertools.permutations(range(len(chosen)))]
    kept = [chosen[order] for order in every if (groups[order] == groups).all()]
    assert len(kept) == 24 * 2
    np.testing.assert_allclose(gates.rates(chosen, groups), np.mean(kept, 0))
    assert gates.rates(chosen, groups)[:4].sum() == chosen[:4].sum()


def test_groups_are_sets_and_within_v_the_verbs_that_mocap_lacks():
    of = lambda *given, **more: np.array(program.script(*given, **more))
    seen = of("walk"), of("circle", side="right"), of("march", upper="clap")  # of S or C: by their place
    lacking = of("kick", side="left"), of("kick", count=2, upper="wave"), of("walk", upper="throw")
    found = gates.groups(np.stack([*seen, *seen, *lacking]), 3)
    assert len(set(found[:3])) == len(set(found[3:6])) == 1 and found[0] != found[3]
    assert found[6] == found[7] not in (found[0], found[3], found[8]) and found[8] not in found[:8]
    last = of("kick", upper="throw"), of("kick"), of("march", upper="throw", upper_side="right")
    found = gates.groups(np.stack([*seen, *seen, *last]), 3)
    assert len(set(found)) == 5  # both verbs are a group of their own
    with pytest.raises(ValueError, match=r"groups: scripts \(3, 6\), expected \(6, 6\), 2 of each set"):
        gates.groups(np.stack(seen), 2)


def test_a_student_is_shown_no_clip_of_an_unknown_verb_that_no_film_led_to():
    of = lambda *given, **more: np.array(program.script(*given, **more))
    known, kick, throw = of("walk", upper="wave"), of("kick"), of("march", upper="throw")
    scripts = np.stack([known, kick, known, throw, throw, kick, kick])
    assert gates.learnable(scripts, np.array([NO, YES, YES, NO, YES, NO, NO])).tolist() == [0, 1, 2, 1, 4, 4, 1]
    assert gates.learnable(scripts, np.array([NO] * 7)).tolist() == [0, 0, 2, 2, 0, 2, 0]
    assert gates.learnable(scripts, np.array([YES] * 7)).tolist() == [*range(7)]
    with pytest.raises(ValueError, match="learnable: the gate trusts no film of 2 prompts whose verbs mocap lacks"):
        gates.learnable(scripts[[1, 3]], np.array([NO, NO]))


def test_what_a_gate_ends_with():
    chosen = np.array([YES, NO, YES])
    text, motion = np.arange(6).reshape(3, 2), 10 + np.arange(6).reshape(3, 2)
    assert gates.mixed(chosen, text, motion).tolist() == [[10, 11], [2, 3], [14, 15]]
    several = np.stack([chosen, ~chosen])
    assert gates.mixed(several, text[:, 0], motion[:, 0]).tolist() == [[10, 2, 14], [0, 12, 4]]
    assert gates.mixed(several, text, motion).shape == (2, 3, 2)


def test_the_best_thresholds_solve_most():
    jitter, cosine = np.array([0.01, 0.02, 0.03, 0.04]), np.array([0.1, 0.9, 0.9, 0.9])
    text, motion = np.array([YES, NO, NO, YES]), np.array([NO, YES, YES, NO])
    grid = [Gate(jitter=j, cosine=c) for j in (0.015, 0.025, 0.035, 0.045) for c in (0.95, 0.5, 0.0)]
    found = gates.best(jitter, cosine, text, motion, grid)
    assert found == Gate(jitter=0.035, cosine=0.5)  # which takes the second and third film
    assert gates.best(jitter, cosine, text, text, grid) == grid[0]  # of equal ones the first


# The search -----------------------------------------------------------------------------------------------------------


class Pilot:
    """A seed with four items of each set. Text solves S, the film solves what is calm."""

    def __init__(self, number):
        self.number, self.asked = number, []
        rows = ("walk", "march", "walk", "march"), ("circle", "sidestep"), ("kick", "jumping_jack")
        scripts = [np.array(program.script(row[i % len(row)], side="left")) for row in rows for i in range(4)]
        self.script = np.stack(scripts).astype(np.int8)

    def measure(self, arm):
        self.asked.append(arm)
        text, calm = np.arange(12) < 4, np.arange(12) % 4 < 2
        return {"rules": text if arm == names.T2M else calm & (np.arange(12) < 11 - self.number % 2 * 3)}

    def told(self, arms):
        assert names.STUDENT not in arms
        calm = np.arange(12) % 4 < 2
        cosine = np.where(np.arange(12) < 4, 0.3, 0.75).astype(np.float32)
        return {"script": self.script, "jitter": np.where(calm, 0.012, 0.05).astype(np.float32), "cosine": cosine}


def test_the_search_asks_the_rules_alone(tmp_path):
    pilots = [Pilot(number) for number in search.PILOTS]
    lines = search.run(pilots, tmp_path).read_text().splitlines()  # type: ignore[arg-type]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    head, rows = rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    assert head[-2:] == ["seed 1000", "seed 1001"] and len(rows) == 4 + len(search.GRID)
    t2m, m2m, oracle, random = rows[:4]
    assert [t2m[name] for name in ("gate", "to the film", "S", "C", "V", "all")] == [
        "T2M", "0.000", "1.000", "0.000", "0.000", "0.333",
    ]  # fmt: skip
    assert [m2m[name] for name in ("to the film", "S", "C", "V")] == ["1.000", "0.500", "0.500", "0.250"]
    assert oracle["all"] == f"{(8 + 4 + 2) / 24:.3f}" and oracle["seed 1000"] == f"{8 / 12:.3f}"
    best = max(rows[4:], key=lambda row: float(row["all"]))
    assert (best["jitter below"], best["cosine above"]) == ("0.02", "0.7") and best["all"] == oracle["all"]
    assert lines[-1] == "The rule chooses jitter below 0.02 and cosine above 0.7."
    # of C half the items are chosen, and half of them solved by the film: a quarter by chance
    assert [random[name] for name in ("jitter below", "to the film", "S", "C")] == ["0.02", "0.333", "1.000", "0.250"]
    assert pilots[0].asked == [names.T2M, names.M2M]  # and the recogniser nowhere


def test_the_search_looks_at_seeds_of_no_claim():
    found = search.study(ViMoGen(name="full", seeds=tuple(range(8)), items=7))
    assert found.seeds == search.PILOTS and found.name == "full_search" and found.items == 7
    assert min(search.PILOTS) > 500 and not {*found.seeds} & {*range(8)}
    assert [gate.jitter for gate in search.GRID] == sorted(gate.jitter for gate in search.GRID)


def test_a_gate_sees_what_a_table_says():
    jitter, cosine = arms.trust({"metrics": np.arange(10.0).reshape(2, 5), "match": np.array([0.5, 0.6])})
    assert jitter.tolist() == [0, 5] and cosine.tolist() == [0.5, 0.6]

"""What is registered: one clear error for every mistake, and nothing changes once there are tables."""

import copy
import importlib
import json

import numpy as np
import pytest
from rich.console import Console

from vrjax.study import registration, tables

PAPERS = ("chain_of_steps", "realdpo", "vchain")
CLAIM = {
    "id": "cos.memory",
    "statement": "It remembers.",
    "statistic": "agreement of colours minus chance",
    "unit": "share",
    "direction": "greater",
    "smallest": 0.5,
    "role": "primary",
    "null": "other clips",
    "gate": {"what": "entrant solved", "low": 0.6, "high": 0.97},
    "control": [{"what": "all blocks", "low": 0.9}, {"what": "none", "high": 0.05}],
}


def written(folder, *claims, bill={"training": 23}):  # noqa: B006
    path = folder / "claims.json"
    path.write_text(json.dumps({"claims": list(claims), "bill": bill}))
    return path


@pytest.mark.parametrize("paper", PAPERS)
def test_every_paper_registers_its_claims(paper):
    verdicts = importlib.import_module(f"experiments.{paper}.verdicts")
    asked = registration.read(verdicts.__file__)
    assert len(asked.claims) >= 7 and asked.bill
    for claim in asked.claims:
        assert claim["statement"].endswith((".", "?", "1.", ").")) and claim["how"]


def test_what_is_left_out_has_its_default(tmp_path):
    asked = registration.read(written(tmp_path, CLAIM, CLAIM | {"id": "b", "role": "exploratory"}))
    assert asked.claims[0] == CLAIM | {
        "seeds": None,
        "dose": None,
        "bounds": None,
        "paper": "vrjax",
        "notes": "",
        "how": {},
        "contrasts": [],
    }
    assert asked.primaries == ("cos.memory",) and asked.bill == {"training": 23}
    rates = {"all blocks": [0.9, 1.0], "entrant solved": [0.5, 0.8]}
    gate, *control = [c for kind in ("gate", "control") for c in registration.checks(asked.claims[0], kind, rates)]
    assert gate.value == pytest.approx(0.65) and gate.passed and gate.per_seed == (0.5, 0.8)  # on the mean of all seeds
    assert [c.passed for c in control] == [True, False] and control[1].value is None


MISTAKES = [
    ({"smallest": 0}, "field 'smallest': expected a number above 0, found 0"),
    ({"smallest": "small"}, "field 'smallest': expected a number"),
    ({"direction": "up"}, "field 'direction': expected one of"),
    ({"role": "main"}, "field 'role': expected one of"),
    ({"statement": " "}, "field 'statement': expected a text"),
    ({"unit": 3}, "field 'unit': expected a text"),
    ({"null": 0.0}, "field 'null': expected a text"),
    ({"gate": 0.6}, "field 'gate': expected an object with what and low or high"),
    ({"gate": {"what": "solved"}}, "field 'gate': expected an object with what and low or high"),
    ({"gate": {"what": "solved", "least": 0.6}}, "field 'gate': expected an object with what and low or high"),
    ({"control": [{"what": "flips", "low": 0.9, "high": 0.1}]}, "field 'control': low end 0.9 above high end 0.1"),
    ({"dose": {"what": "moved", "low": None}}, "field 'dose': low, high: expected a number"),
    ({"contrasts": {"a": 0.5}}, "field 'contrasts': expected a list of objects with name and smallest"),
    ({"contrasts": [{"smallest": 0.5}]}, "field 'contrasts': expected an object with name and smallest"),
    ({"contrasts": [{"name": "a", "low": 0.5}]}, "field 'contrasts': expected an object with name and smallest"),
    ({"contrasts": [{"name": " "}]}, "field 'contrasts': name: expected a text"),
    ({"contrasts": [{"name": "a"}, {"name": "a"}]}, "field 'contrasts': 'a' stands there twice"),
    ({"contrasts": [{"name": "a", "smallest": 0}]}, "smallest of 'a': expected a number above 0, found 0"),
    ({"contrasts": [{"name": "a"}], "smallest": None}, "'a' has no smallest effect of interest, nor has the claim"),
    ({"contrasts": [], "smallest": None}, "field 'smallest': expected a number"),
    ({"seeds": 0}, "field 'seeds': expected a whole number of at least 1, found 0"),
    ({"bounds": [1, 0]}, "field 'bounds': low end 1.0 above high end 0.0"),
    ({"how": "simply"}, "field 'how': expected an object"),
    ({"smalest": 0.5}, "unknown field 'smalest'; expected id, statement"),
]


@pytest.mark.parametrize("change, message", MISTAKES)
def test_mistakes_are_named(change, message, tmp_path):
    path = written(tmp_path, CLAIM | change)
    with pytest.raises(ValueError) as error:
        registration.read(path)
    said = str(error.value)
    assert said.startswith(f"{path}: claims[0] ('cos.memory')") and message in said and "\n" not in said


@pytest.mark.parametrize("name", registration.NEEDED)
def test_missing_fields_are_named(name, tmp_path):
    path = written(tmp_path, {k: v for k, v in CLAIM.items() if k != name})
    with pytest.raises(ValueError, match=rf"claims\[0\].*: missing field '{name}'"):
        registration.read(path)


def test_contrasts_have_smallest_effects_of_their_own_or_the_claims(tmp_path):
    named = [{"name": "agreement"}, {"name": "own colour lost", "smallest": 0.3}]
    (claim,) = registration.read(written(tmp_path, CLAIM | {"contrasts": named})).claims
    assert claim["contrasts"] == [{"name": "agreement", "smallest": 0.5}, {"name": "own colour lost", "smallest": 0.3}]
    alone = {name: value for name, value in CLAIM.items() if name != "smallest"}
    (claim,) = registration.read(written(tmp_path, alone | {"contrasts": named[1:]})).claims
    assert claim["smallest"] is None and claim["contrasts"] == named[1:]
    gates = [{"what": "maze", "low": 0.6}, {"what": "entrant", "low": 0.6}]  # a claim about two worlds
    (claim,) = registration.read(written(tmp_path, CLAIM | {"gate": gates})).claims
    assert [check.what for check in registration.checks(claim, "gate", {})] == ["maze", "entrant"]


def test_mistakes_of_the_file_are_named(tmp_path):
    for text, message in (
        ("{", "not a registration"),
        ('{"claims": [], "claims": []}', "stands there twice"),
        ('{"claims": []}', "missing field 'bill'"),
        ('{"claims": 3, "bill": {}}', "expected a list, found int"),
        ('{"claims": [], "bill": {}, "seeds": 7.5}', "field 'seeds': expected a whole number"),
        ('{"claims": [], "bill": 3}', "field 'bill': expected core minutes"),
        ('{"claims": [], "bill": {"a": "long"}}', "bill.a: expected a number"),
        ('{"claims": [3], "bill": {}}', r"claims\[0\]: expected an object, found int"),
        ('{"claims": [], "bill": {}, "more": 1}', "unknown field 'more'"),
    ):
        (tmp_path / "claims.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            registration.read(tmp_path / "verdicts.py")  # the file beside a module
    with pytest.raises(ValueError, match=r"claims\[1\] \('cos.memory'\): field 'id': stands there twice"):
        registration.read(written(tmp_path, CLAIM, CLAIM))


def test_a_registration_changed_after_the_tables_exist_is_refused(tmp_path):
    how = {"kind": "paper", "fresh": False, "console": Console(quiet=True)}
    folder, about = tmp_path / "run", {"config": {}}
    path = written(tmp_path, CLAIM)

    def run(**more):
        with tables.running(folder, about, registered=registration.read(path).keep, **how | more) as here:
            return here.part("t", lambda: {"x": np.arange(3)})

    run()
    run()  # the same
    for change, said in (({"smallest": 0.3}, r"cos.memory.smallest \(was 0.5, now 0.3\)"), ({"gate": None}, "gate")):
        written(tmp_path, CLAIM | change)
        with pytest.raises(ValueError, match=f"changed after the tables in .* were measured: .*{said}"):
            run()
    written(tmp_path, CLAIM, CLAIM | {"id": "late"})
    with pytest.raises(ValueError, match="late"):
        run()
    written(tmp_path, CLAIM, bill={"training": 24})
    with pytest.raises(ValueError, match="bill.training"):
        run()
    written(tmp_path, CLAIM)
    run()
    kept = folder / "tables" / registration.FILE
    whole = kept.read_text()
    kept.write_text(whole.replace("0.5", "0.3"))
    with pytest.raises(ValueError, match=r"registration.json: torn or changed"):
        run()
    kept.unlink()
    with pytest.raises(ValueError, match="measured before anything was registered"):
        run()
    written(tmp_path, CLAIM | {"smallest": 0.3})
    run(fresh=True)
    assert json.loads(kept.read_text())["claims"][0]["smallest"] == 0.3


def test_five_seeds_bear_one_primary_and_eight_twelve(tmp_path):
    many = [copy.deepcopy(CLAIM) | {"id": f"c{i}"} for i in range(13)]
    for seeds, most in ((5, 1), (8, 12)):
        registration.read(written(tmp_path, *many[:most]), seeds=seeds)
        with pytest.raises(
            ValueError, match=f"{most + 1} primaries, but with {seeds} seeds .* expected at most {most}"
        ):
            registration.read(written(tmp_path, *many[: most + 1]), seeds=seeds)
    registration.read(written(tmp_path, CLAIM | {"role": "exploratory"}), seeds=1)

"""What one process measures of a study."""

import io
import pathlib

import pytest
from rich.console import Console

from vrjax.study import command, shares

SEEDS, PARTS = (10, 11, 12), ("a", "b", "c")


def walked(mine, **options):
    out = io.StringIO()
    found = list(mine.walk(Console(file=out, width=200), **options))
    return found, out.getvalue()


def test_parts_come_first_and_no_seed_falls_away():
    mine = shares.of(SEEDS, PARTS, chosen=("c", "a"))
    assert mine.parts == ("a", "c") and not mine.some
    found, said = walked(mine)
    assert found == [("a", 10), ("a", 11), ("a", 12), ("c", 10), ("c", 11), ("c", 12)]
    assert "falls away first where time is short: a, c" in said and "[6/6] seed 12: c" in said


def test_processes_share_a_study_and_leave_nothing_out():
    each = [shares.of(SEEDS, PARTS, only=only, word="base") for only in ((0, 2), (1,))]
    assert all(one.some for one in each) and each[0].seeds == (10, 12)
    skip = lambda name, seed: name == "b" and seed > 10
    together = sorted(row for one in each for row in walked(one, skip=skip)[0])
    assert together == [("a", 10), ("a", 11), ("a", 12), ("b", 10), ("c", 10), ("c", 11), ("c", 12)]
    assert "[4/4] base 12" not in walked(each[1], skip=skip)[1] and "[2/2] base 11: c" in walked(each[1], skip=skip)[1]
    assert each[0].told(pathlib.Path("there")).endswith(str(pathlib.Path("there") / "tables"))
    assert "bases [10, 12]" in each[0].told(pathlib.Path("there"))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"only": (0, 3)}, "--only 0 3: expected positions 0 to 2"),
        ({"only": (-1,)}, "--only -1: expected positions 0 to 2"),
        ({"chosen": ("a", "z")}, "--parts: unknown part 'z', expected some of a, b, c"),
        ({"chosen": ("b", "c"), "must": "a"}, "--parts: found b c, expected a among them"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(options, said):
    with pytest.raises(ValueError) as error:
        shares.of(SEEDS, PARTS, **options)
    assert str(error.value) == said


def test_the_command_line_reads_them(capsys):
    seen = []
    job = lambda study, options, console: seen.append((options.only, options.parts))
    assert command.main("vchain", "", job, ["--only", "0", "2", "--parts", "a"], options=shares.options("base")) == 0
    assert seen == [([0, 2], ["a"])]
    with pytest.raises(SystemExit):
        command.main("vchain", "", job, ["--help"], options=shares.options("base"))
    assert "these bases (0, 1, ...)" in " ".join(capsys.readouterr().out.split())

"""A made-up paper through its whole life: run, packed, judged again, its README in step, beside quick numbers."""

import importlib
import json
import pathlib
import shutil
import sys
import zipfile

import numpy as np
import pytest

import experiments
from vrjax.report import claims as files
from vrjax.study import archive, claims, judging, readme

HERE = pathlib.Path(__file__).parent / "made_up"
CONFIG = "from experiments.made_up.study import Coins\n\n\ndef config():\n    return Coins(name={!r}{})\n"


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """The package `experiments.made_up`, its configs, and a folder to run in; gone again afterwards."""
    shutil.copytree(HERE, tmp_path / "experiments" / "made_up", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "experiments" / "made_up" / "__init__.py").touch()
    (tmp_path / "configs" / "made_up").mkdir(parents=True)
    for size, more in (("full", ""), ("quick", ", quick=True, bases=2, coins=10")):
        (tmp_path / "configs" / "made_up" / f"{size}.py").write_text(CONFIG.format(f"coins-{size}", more))
    monkeypatch.syspath_prepend(tmp_path)
    experiments.__path__.append(str(tmp_path / "experiments"))  # in place: what looks for sources sees it too
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("experiments.made_up.study")
    experiments.__path__.pop()
    for name in [n for n in sys.modules if n.split(".")[1:2] == ["made_up"]]:
        del sys.modules[name]


@pytest.fixture
def home(paper):
    return pathlib.Path(paper.__file__).parent


def full(stop):
    return CONFIG.format("coins-full", f", stop={stop}")


def said(paper, capsys, *argv, status=0):
    assert paper.main([str(word) for word in argv]) == status
    out, error = capsys.readouterr()
    return error if status else out


def test_a_finished_run_is_packed_and_judged_again(paper, home, capsys, tmp_path):
    assert said(paper, capsys, "--judge", status=2).startswith("made_up: ") and not list(home.glob("*.zip"))
    ran = said(paper, capsys, "--full")
    lines = [line for line in ran.splitlines() if line.startswith("  coins.")]
    assert len(lines) == 3 and "reproduced" in lines[0] and "missing" in lines[2]
    packed = said(paper, capsys, "--pack")
    assert "8 parts" in packed and all(line in packed for line in lines)
    kept, run = archive.read(home / "tables.zip"), archive.of_run("runs/coins-full")
    assert set(kept.tables) == {f"seed-{k}" for k in range(8)} and kept.finished  # no film
    for part, table in run.tables.items():
        for name, array in table.items():
            np.testing.assert_array_equal(kept.tables[part][name], array)
            assert kept.tables[part][name].dtype == array.dtype
    assert files.read(home) == files.read("runs/coins-full")  # the same, bit for bit
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    shutil.rmtree("runs")  # neither the run nor a model is needed
    told = said(paper, capsys, "--judge")
    assert all(line in told for line in lines) and "| coins.heads |" in told and "| coins.lost |" in told
    assert "| 7 | 0.908 |" in told and "over tails: 0.5; over half: 0.2 share" in told
    assert not pathlib.Path("runs").exists() and before == {file: file.read_bytes() for file in before}
    said(paper, capsys, "--judge", "--out", "again")
    assert files.read("again/coins-full") == files.read(home)
    assert sorted(file.name for file in pathlib.Path("again/coins-full").iterdir()) == [
        "claims.md", "exploratory.md", "made_up.png", "primary.md", "rates.md", "results.json"]  # fmt: skip
    brief = pathlib.Path("again/coins-full/primary.md").read_text()
    assert "| coins.heads |" in brief and "coins.lost" not in brief and "per seed" not in brief.splitlines()[0]


def test_a_changed_registration_is_refused_and_marked(paper, home, capsys):
    said(paper, capsys, "--full")
    said(paper, capsys, "--pack")
    page = json.loads((home / "claims.json").read_text())
    page["claims"][1]["smallest"] = 0.05
    (home / "claims.json").write_text(json.dumps(page))
    for argv in (["--judge"], ["--judge", "runs/coins-full"], ["--pack"]):
        error = said(paper, capsys, *argv, status=2)
        assert (
            "claims.json: changed after the tables in" in error and "coins.height.smallest (was 0.5, now 0.05)" in error
        )
    beside = claims.published(paper.__file__)
    assert beside["coins.height"].notes == "registered otherwise then" and not beside["coins.heads"].notes


def test_an_unfinished_run_gives_numbers_and_is_not_packed(paper, home, capsys, tmp_path):
    config = tmp_path / "configs" / "made_up" / "full.py"
    config.write_text(full(stop=3))
    importlib.invalidate_caches()
    sys.modules.pop("configs.made_up.full", None)
    assert paper.main(["--full"]) == 130
    capsys.readouterr()
    told = said(paper, capsys, "--judge", "runs/coins-full")
    assert "not finished; numbers of what is there" in told and "3 seeds, n=120" in told and "reproduced" not in told
    assert "missing" in told and "\n| 2 | " in told and "\n| 3 | " not in told
    assert "not finished; run `python -m experiments.made_up --full`" in said(paper, capsys, "--pack", status=2)
    said(paper, capsys)  # a quick run is finished, but no full one
    assert "no claim has a verdict: a quick run" in said(paper, capsys, "--pack", "runs/coins-quick", status=2)
    assert not (home / "tables.zip").exists()
    error = said(paper, capsys, "--judge", tmp_path, status=2)
    assert "no run there" in error
    assert "without a run folder" in said(paper, capsys, "--judge", "runs/coins-full", "--readme", status=2)
    assert "expected with --judge" in said(paper, capsys, "--readme", status=2)


def test_a_run_with_too_few_seeds_has_no_verdict(paper, home, capsys, tmp_path):
    (tmp_path / "configs" / "made_up" / "full.py").write_text(CONFIG.format("coins-full", ", bases=5"))
    sys.modules.pop("configs.made_up.full", None)
    importlib.invalidate_caches()
    said(paper, capsys, "--full")
    (row, _) = files.read("runs/coins-full")
    assert row.verdict is None and "5 of the 8 registered seeds: no verdict." in row.notes
    assert "fewer seeds than registered" in said(paper, capsys, "--pack", status=2)


def test_the_readme_is_in_step(paper, home, capsys):
    said(paper, capsys, "--full")
    said(paper, capsys, "--pack")
    text = (home / "README.md").read_text()
    said(paper, capsys, "--judge", "--readme")
    now = (home / "README.md").read_text()
    assert "an old table" in text and "an old table" not in now
    assert now.startswith("# Coins\n\nWhat was claimed:\n\n<!-- claims -->\n`python -m experiments.made_up --judge`,")
    assert "| coins.lost |" in now and "| 7 | 0.908 |" in now and now.endswith("In words: they fall.\n")
    said(paper, capsys, "--judge", "--readme")
    assert (home / "README.md").read_text() == now  # and stays so
    told = judging.judge("made_up", paper.judged, paper.Coins, archive.read(home / "tables.zip"))
    assert judging.out_of_step("made_up", told, home) == []  # what tests/laws/test_committed.py asks of every paper
    for wrong in (now.replace("0.908", "0.909"), now.replace("<!-- rates -->", "<!-- rates -->\n"), text):
        (home / "README.md").write_text(wrong)
        assert ["other tables than `python -m experiments.made_up --judge` gives" in one
                for one in judging.out_of_step("made_up", told, home)] == [True]  # fmt: skip
    (home / "README.md").write_text("# Coins\n")
    assert "no block <!-- claims -->" in judging.out_of_step("made_up", told, home)[0]
    page = (home / "results.json").read_text()
    (home / "results.json").write_text(page.replace('"estimate": 0.70', '"estimate": 0.71'))
    assert "results.json: other claims than the tables give" in judging.out_of_step("made_up", told, home)[0]
    (home / "README.md").write_text(now.replace("<!-- rates -->", "<!-- rate -->"))
    error = said(paper, capsys, "--judge", "--readme", status=2)
    assert "README.md: block 'rate': no such table; expected one of claims, primary" in error


def test_the_full_runs_verdict_stands_beside_a_quick_number(paper, home, capsys):
    alone = said(paper, capsys)
    assert "full run" not in alone and claims.published(paper.__file__) == {}
    said(paper, capsys, "--full")
    said(paper, capsys, "--pack")
    (heads, _) = files.read(home)
    told = said(paper, capsys)
    line = next(line for line in told.splitlines() if "coins.heads" in line)
    assert line.endswith(
        f"–; full run: {heads.estimate:.3g} [{heads.interval[0]:.3g}, {heads.interval[1]:.3g}], reproduced"
    )
    quick = files.read("runs/coins-quick")[0]
    assert (
        quick.verdict is None
        and quick.full is not None
        and quick.full.verdict == "reproduced"
        and quick.full.seeds == 8
    )
    assert json.loads(pathlib.Path("runs/coins-quick/results.json").read_text())["claims"][0]["full"]["seeds"] == 8
    table = files.table(files.gather(["runs/coins-quick"]))
    assert "| full run |" in table and "reproduced |" in table and "| full run |" not in files.table([heads])
    (home / "results.json").write_text('{"claims": []}')
    with pytest.raises(ValueError, match="no results of a full run"):
        claims.published(paper.__file__)


def test_archives_are_lossless_small_and_the_same_twice(tmp_path):
    rng = np.random.default_rng(0)
    odd = {
        "bool": rng.random((5, 7)) < 0.5, "int8": rng.integers(-9, 9, 11).astype(np.int8), "empty": np.zeros((0, 3)),
        "scalar": np.asarray(3.5), "half": rng.normal(size=4).astype(np.float16), "big": np.arange(5, dtype=">i4"),
        "complex": rng.normal(size=3) + 1j, "names": np.array(["a", "süß", ""]), "bytes": np.array([b"x", b"yz"]),
        "nan": np.array([np.nan, -0.0, np.inf], np.float32), "view": np.arange(12).reshape(3, 4).T[::2],
    }  # fmt: skip
    many = {
        f"part {k}": {"x": rng.normal(1, 0.1, 40).astype(np.float32), "ok": rng.random(40) < 0.5} for k in range(50)
    }
    config, registered = {"config": {"n": 1}}, {"claims": [], "bill": {}}
    run = archive.Kept(tmp_path, "paper", config, registered, {"odd/1": odd, **many}, True)
    path = archive.write(tmp_path / "tables.zip", run)
    back = archive.read(path)
    assert back._replace(tables={}, where=tmp_path) == run._replace(tables={})
    assert set(back.tables) == set(run.tables)
    for part, table in run.tables.items():
        for name, array in table.items():
            other = back.tables[part][name]
            assert (other.dtype, other.shape) == (array.dtype, array.shape)
            assert other.tobytes() == array.tobytes() and other.flags.writeable
    again = archive.write(tmp_path / "again.zip", back._replace(tables=dict(reversed(back.tables.items()))))
    assert again.read_bytes() == path.read_bytes()
    assert path.stat().st_size < 50 * 40 * (4 + 1 / 8) + 2500  # next to nothing for the names of 111 arrays
    with pytest.raises(ValueError, match="part/x is of type object"):
        archive.write(path, run._replace(tables={"part": {"x": np.array([None])}}))
    assert again.read_bytes() == path.read_bytes()


def test_torn_archives_are_refused(tmp_path):
    run = archive.Kept(tmp_path, "paper", {}, {"claims": [], "bill": {}}, {"a": {"x": np.arange(99.0)}}, True)
    path = archive.write(tmp_path / "tables.zip", run)
    whole = path.read_bytes()
    for torn in (whole[: len(whole) // 2], b"", whole[:300] + b"\0" * 9 + whole[309:], b"nothing of the kind"):
        path.write_bytes(torn)
        with pytest.raises(ValueError, match=f"{path}: torn, or no archive of tables"):
            archive.read(path)
    with zipfile.ZipFile(path, "w") as file:  # whole, and with another number
        with zipfile.ZipFile(archive.write(tmp_path / "other.zip", run)) as old:
            file.writestr("index.json", old.read("index.json"))
            file.writestr("f8.bin", bytes(99 * 8))
    with pytest.raises(ValueError, match="the numbers of type <f8 are others"):
        archive.read(path)
    with pytest.raises(FileNotFoundError):
        archive.read(tmp_path / "none.zip")


def test_blocks_of_a_readme():
    text = "a\n<!-- claims -->\nold\n<!-- end -->\nb <!-- c -->\n<!-- two words -->\n"
    new = readme.filled(text, {"claims": "| x |\n", "other": "no"}, "do it")
    assert new == text.replace("old", "`do it`, from the committed tables of the full run:\n\n| x |")
    assert readme.filled(new, {"claims": "| x |\n"}, "do it") == new and readme.blocks(text) == {"claims": "old"}
    for wrong, message in (
        ("<!-- claims -->\n", r"block 'claims' has no end"),
        ("<!-- end -->\n", "ends that has not begun"),
        ("<!-- a -->\n<!-- b -->\n<!-- end -->", "block 'a' has no end before block 'b'"),
        ("<!-- a -->\n<!-- end -->\n<!-- a -->\n<!-- end -->", "two blocks of one name, found a, a"),
    ):
        with pytest.raises(ValueError, match=message):
            readme.blocks(wrong)

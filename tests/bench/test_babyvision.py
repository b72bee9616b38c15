"""BabyVision's folders, extraction, judges and summaries, by hand and beside a plain statement of the public code."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from vrjax.bench import babyvision
from vrjax.bench.babyvision import answers, generated, lists, results

ROWS = (
    {"taskId": 445, "type": "Fine-grained Discrimination", "subtype": "Find the Different", "image": "images/a.png",
     "question": "Which is different? (row,column)", "ansType": "blank", "options": [], "choiceAns": "null",
     "blankAns": "(4,7)", "coT": "Look."},
    {"taskId": 7, "type": "Spatial Perception", "subtype": "3D views", "image": "images/b.jpg",
     "question": "Which view?", "ansType": "choice",
     "options": ["first", "second", "third"], "choiceAns": "1", "blankAns": "null", "coT": ""},
    {"taskId": 9, "type": "Visual Tracking", "subtype": "Maze", "image": "images/c.jpeg", "question": "Which way?",
     "ansType": "choice", "options": ["A", "B"], "choiceAns": 0, "blankAns": "null", "coT": ""},
)  # fmt: skip
GEN = (
    {"taskId": 1, "type": "Fine-grained Discrimination", "subtype": "Find the same components", "image": "images/a.png",
     "generationPrompt": "Circle it.", "answerImage": "answerImages/a.png"},
    {"taskId": 2, "type": "Visual Tracking", "subtype": "Maze", "image": "images/b.png",
     "generationPrompt": "Trace it.", "answerImage": "answerImages/b.png"},
)  # fmt: skip


def folder(root, rows=ROWS):
    """A folder of the benchmark's layout with grey pictures."""
    for row in rows:
        for name in ("image", "answerImage"):
            if name in row:
                path = root / row[name]
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 6), (row["taskId"] % 250, 90, 90)).save(path)
    (root / "meta_data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


# -------------------------------------------------------------------------------------------------------------- folders


def test_items_as_they_stand(tmp_path):
    outer = tmp_path / "unpacked"
    folder(outer / "babyvision_data")
    first, second, third = babyvision.read(outer)
    assert (first.subtype, first.kind, first.answer) == ("Find the different", "blank", "(4,7)")
    assert (second.subtype, second.options, second.answer) == ("3D Views", ("first", "second", "third"), "B")
    assert third.answer == "A" and first.reasoning == "Look."
    assert first.image.shape == (6, 8, 3) and first.image[0, 0].tolist() == [195, 90, 90]
    assert babyvision.asked(second).splitlines()[1:5] == ["Choices:", "(A) first", "(B) second", "(C) third"]
    assert "Choices" not in babyvision.asked(first) and answers.REQUEST in babyvision.asked(first)
    drawn, other = babyvision.read(folder(tmp_path / "gen", GEN))
    assert (drawn.kind, drawn.subtype, drawn.prompt) == ("drawn", "Reconstruction", "Circle it.")
    assert other.answer_image is not None and other.answer_image.shape == (6, 8, 3)
    assert drawn.answer == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"choiceAns": 3}, r"line 2, item 7: choiceAns is 3 of 3 options, expected their place \(counted from 1"),
        ({"choiceAns": -1}, "line 2, item 7: choiceAns is -1 of 3 options, expected their place"),
        ({"choiceAns": "null"}, "item 7: choiceAns is 'null'"),
        ({"ansType": "essay"}, "item 7: ansType is 'essay', expected 'blank' or 'choice'"),
        ({"ansType": "blank"}, "item 7: blankAns is 'null', expected the answer of a blank"),
        ({"options": "abc"}, "item 7: options is 'abc', expected a list of texts"),
        ({"subtype": "3D Vuews"}, "item 7: unknown subtype '3D Vuews', did you mean '3D Views'"),
        ({"type": "Visual Tracking"}, "item 7: type is 'Visual Tracking', expected 'Spatial Perception'"),
        ({"taskId": "7"}, "line 2: taskId is '7', expected a whole number"),
        ({"taskId": 445}, "line 2: taskId 445 stands in line 1 already"),
        ({"image": "../b.jpg"}, r"item 7, image: '../b.jpg' leads out of"),
        ({"image": "/etc/b.jpg"}, "item 7, image: '/etc/b.jpg' leads out of"),
        ({"image": "images/link/b.jpg"}, "item 7, image: 'images/link/b.jpg' leads out of"),
        ({"image": "images/b.exe"}, "item 7, image: 'images/b.exe', expected the path of a .png"),
        ({"image": "images/none.png"}, "item 7, image: no picture"),
        ({"question": 3}, "item 7: question is 3, expected a text"),
    ],
)
def test_rows_that_are_wrong(change, said, tmp_path):
    root = folder(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "elsewhere" / "b.jpg")
    (root / "images" / "link").symlink_to(tmp_path / "elsewhere")
    rows = [ROWS[0], ROWS[1] | change, ROWS[2]]
    (root / "meta_data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        babyvision.read(root)


def test_files_that_are_wrong(tmp_path):
    root = folder(tmp_path / "data")
    text = (root / "meta_data.jsonl").read_text()
    for torn, said in ((text[:-40], "line 3: not JSON"), ("[1]\n", "line 1: found list"), ("\n", "no items")):
        (root / "meta_data.jsonl").write_text(torn)
        with pytest.raises(ValueError, match=said):
            babyvision.read(root)
    lacking = {name: value for name, value in ROWS[0].items() if name != "image"}
    (root / "meta_data.jsonl").write_text(json.dumps(lacking))
    with pytest.raises(ValueError, match="line 1: no image"):
        babyvision.read(root)
    (root / "meta_data.jsonl").write_text(text)
    (root / "images" / "a.png").write_bytes(b"no picture at all")
    with pytest.raises(ValueError, match=r"a.png: cannot be read as a picture"):
        _ = babyvision.read(root)[0].image
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no such folder|neither meta_data.jsonl"):
            babyvision.read(missing)


def test_a_picture_that_unpacks_to_far_more(tmp_path):
    """A small file of very many pixels."""
    root = folder(tmp_path)
    Image.new("1", (40_000, 10_000)).save(root / "images" / "a.png")
    with pytest.raises(ValueError, match=r"a.png: cannot be read as a picture .*bomb"):
        _ = babyvision.read(root)[0].image


def parquet(root, rows, **columns):
    """The hub's copy of a folder: its rows, pictures in them as the hub's library has them."""
    import pyarrow
    from pyarrow import parquet as files

    held = lambda name: {"bytes": (root / name).read_bytes(), "path": pathlib.PurePath(name).name}
    packed = [{**row, **{name: held(row[name]) for name in ("image", "answerImage") if name in row}} for row in rows]
    table = pyarrow.Table.from_pylist([row | columns for row in packed])
    files.write_table(table, root / "train-00000-of-00001.parquet")
    return root / "train-00000-of-00001.parquet"


@pytest.mark.parametrize("rows", [ROWS, GEN], ids=["answers", "draws"])
def test_the_hub_has_the_same_items(tmp_path, rows):
    """In a file, in a folder and in its `data`; columns that a row lacks are empty there."""
    rows = [{**row, "choiceAns": str(row["choiceAns"])} if "choiceAns" in row else row for row in rows]
    root = folder(tmp_path, rows)
    mine = babyvision.read(root)
    file = parquet(root, rows)
    (tmp_path / "hub" / "data").mkdir(parents=True)
    (tmp_path / "hub" / "data" / file.name).write_bytes(file.read_bytes())
    (root / "meta_data.jsonl").unlink()
    for place in (file, root, tmp_path / "hub"):
        for item, other in zip(mine, babyvision.read(place), strict=True):
            for name in ("task_id", "subtype", "kind", "question", "options", "answer", "reasoning", "prompt"):
                assert getattr(item, name) == getattr(other, name), name
            np.testing.assert_array_equal(item.image, other.image)
            assert (item.answer_image is None) == (other.answer_image is None)
    assert babyvision.read(file)[0] == babyvision.read(file)[0] != mine[0]


def test_a_copy_that_is_torn_or_lacks_something(tmp_path):
    root = folder(tmp_path, ROWS[:1])
    file = parquet(root, ROWS[:1], subtype="Tasting")
    with pytest.raises(ValueError, match=r"parquet, row 1, item 445: unknown subtype 'Tasting'"):
        babyvision.read(file)
    file = parquet(root, [{**ROWS[0], "image": "images/a.png"}])
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        babyvision.read(file)
    (root / "images" / "a.png").write_bytes(b"no picture at all")
    with pytest.raises(ValueError, match=r"item 445: a picture"):
        _ = babyvision.read(parquet(root, ROWS[:1]))[0].image
    with pytest.raises(FileNotFoundError, match="no such folder"):
        babyvision.read(root / "other.parquet")


def test_generated_items_come_back(tmp_path):
    """Written as the benchmark's folder, with the fields of both tracks."""
    items = [babyvision.make(subtype, i, size=64) for i, subtype in enumerate(("Maze", "Rotation Patterns"))]
    root = babyvision.write(items, tmp_path / "ours")
    for item, back in zip(items, babyvision.read(root), strict=True):
        assert back.kind == "drawn"  # rows with a prompt are of the track that draws
        for name in ("task_id", "type", "subtype", "question", "options", "answer", "reasoning", "prompt"):
            assert getattr(back, name) == getattr(item, name)
        np.testing.assert_array_equal(back.image, item.image)
        np.testing.assert_array_equal(back.answer_image, item.answer_image)
    with pytest.raises(ValueError, match="has items already"):
        babyvision.write(items, root)
    with pytest.raises(ValueError, match="expected items with numbers of their own"):
        babyvision.write([items[0], items[0]], tmp_path / "twice")


# -------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("text", "ours", "public"),
    [
        (r"so \boxed{A}", "A", "A"),
        (r"\boxed{A} or rather \boxed{ (4,7) }", " (4,7) ", " (4,7) "),
        (r"\boxed{}", "", ""),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"\boxed{\text{\textbf{B}}}", r"\text{\textbf{B}}", r"\text{\textbf{B}}"),
        # three levels: one string spans both boxes of a line
        (r"\boxed{\frac{\sqrt{2}}{3}}, \boxed{\frac{\sqrt{5}}{7}}", r"\frac{\sqrt{5}}{7}",
         r"\frac{\sqrt{2}}{3}}, \boxed{\frac{\sqrt{5}}{7}"),
        ("\\boxed{a{b{c\n}}}", "a{b{c\n}}", None),  # a line's end on the third level
        ("\\boxed{two\nlines}", "two\nlines", "two\nlines"),
        (r"\boxed{C", None, None),
        (r"\boxed{torn \boxed{D}", "D", "D"),
        (r"\boxed{outer \boxed{inner}}", r"outer \boxed{inner}", r"outer \boxed{inner}"),
        ("<|begin_of_box|> 12 <|end_of_box|>", "12", "12"),
        ("<|begin_of_box|>1\n2<|end_of_box|>", "1\n2", None),
        ("no box", None, None),
        (None, None, None),
    ],
)  # fmt: skip
def test_extraction(text, ours, public):
    assert babyvision.extract(text) == ours
    assert babyvision.extract(text, compat="official") == public


def test_extraction_of_odd_words():
    with pytest.raises(ValueError, match="compat is 'theirs'"):
        babyvision.extract("", compat="theirs")
    assert babyvision.extract(r"\boxed{" * 3000) is None
    assert babyvision.extract(r"\boxed{" + "{" * 400 + "x" + "}" * 400 + "}") == "{" * 400 + "x" + "}" * 400


def item(subtype, answer, options=()):
    kind = "choice" if options else "blank"
    picture = pathlib.Path("none.png")
    return babyvision.Item(1, "any", babyvision.canonical(subtype), picture, "?", kind, tuple(options), answer)


@pytest.mark.parametrize(
    ("subtype", "answer", "right", "wrong"),
    [
        ("Find the different", "(4,7)", ["(4, 7)", "( 4,7 ).", r"\text{(4,7)}", "$(4,7)$", "（4，7）"],
         ["(7,4)", "(4,8)", "4", "", "(4,7,1)", "(4,7),(1,1)"]),
        ("Find the different", "Row 4 Column 17", ["row 4, column 17", "ROW 4 COLUMN 17"],
         ["Column 17 Row 4", "row 4"]),
        ("Connect the lines", "A-2,B-3,C-1", ["C-1, A-2, B-3", "a:2; b:3; c:1", "A=2,B=3,C=1"],
         ["A-3,B-2,C-1", "A-2,B-3", "2,3,1"]),
        ("Count Same Patterns", "heart=7; star=5", ["star=5, heart=7", "heart: 7, star: 5"],
         ["heart=5; star=7", "7, 5"]),
        ("Count 3D blocks", "12", ["12", " 12 ", "12.", r"\mathbf{12}"], ["-12", "1 2", "13", "twelve"]),
        ("Mirroring Patterns", "2,7", ["7, 2", "2 and 7", "(2,7)"], ["2", "2,7,9"]),
        ("Metro map", "A,C,F", ["A, C, F", "a c f", "A-C-F"], ["F,C,A", "A,C"]),
    ],
)  # fmt: skip
def test_an_exact_judge_of_blanks(subtype, answer, right, wrong):
    one = item(subtype, answer)
    assert [text for text in right if not babyvision.judge(one, text)] == []
    assert [text for text in [*wrong, None] if babyvision.judge(one, text)] == []


def test_an_exact_judge_of_choices():
    one = item("3D Views", "B", ("the left one", "the right one", "neither"))
    for text in ("B", "(B)", "b.", "B)", r"\text{B}", "The right one."):
        assert babyvision.judge(one, text)
    for text in ("A", "BB", "A or B", "the left one", "", None, "one"):
        assert not babyvision.judge(one, text)
    with pytest.raises(ValueError, match="item 1: has no answer in words"):
        babyvision.judge(item("Maze", ""), "A")


def test_a_judge_that_is_asked():
    """Its reply is read as the public code reads it; one that fails three times makes the answer wrong."""
    heard = []
    one = item("Maze", "A")
    for reply, right in (("True", True), ("false", False), ("not true", True), ("perhaps", False)):
        assert babyvision.judged(one, "B", lambda text, reply=reply: heard.append(text) or reply) is right
    assert "Right answer: A" in heard[0] and "Given answer: B" in heard[0]

    def broken(text):
        heard.append(text)
        raise TimeoutError

    before = len(heard)
    assert babyvision.judged(one, "A", broken) is False and len(heard) == before + 3


# ------------------------------------------------------------------------------------------------------------ summaries


def row(number, kind, subtype, right):
    return {"Id": number, "Type": kind, "Subtype": subtype, "LLMJudgeResult": right}


FD, VT = "Fine-grained Discrimination", "Visual Tracking"
RUNS = (
    [row(1, FD, "Find the same", True), row(2, FD, "find the SAME", False), row(3, VT, "Maze", True)],
    [
        row(1, FD, "Find the same", False),
        row(1, FD, "Find the same", True),
        row(3, VT, "Maze", False),
    ],  # repeated; no 2
    [row(1, FD, "Find the same", True), row(2, FD, "find the SAME", True), row(4, VT, "Maze", None)],
)


def files(tmp_path, runs=RUNS):
    paths = []
    for i, rows in enumerate(runs, 1):
        paths.append(tmp_path / f"model_results_run_{i}.json")
        paths[-1].write_text(json.dumps(rows))
    return paths


def test_the_official_summary(tmp_path):
    """A plain statement of what the public code prints, of dirty runs."""
    found = babyvision.summary(files(tmp_path), compat="official")
    share = lambda rows: np.mean([bool(one["LLMJudgeResult"]) for one in rows])
    assert found["overall"]["mean"] == pytest.approx(np.mean([share(rows) for rows in RUNS]))
    assert found["overall"]["std"] == pytest.approx(np.std([share(rows) for rows in RUNS]))
    names = {"1" + FD + "/Find the same": [0, 1, 2], "1" + FD + "/find the SAME": [0, 2], "2" + VT + "/Maze": [0, 1, 2]}
    assert set(found["subtype"]) == set(names)
    for name, runs in names.items():
        each = [share([one for one in RUNS[i] if one["Subtype"] == name.split("/")[1]]) for i in runs]
        assert found["subtype"][name]["mean"] == pytest.approx(np.mean(each))
        assert found["subtype"][name]["std"] == pytest.approx(np.std(each)) and found["subtype"][name]["runs"] == len(
            runs
        )
    assert found["type"][VT]["mean"] == pytest.approx((1 + 0 + 0) / 3)
    strange = babyvision.summary(files(tmp_path, [[row(1, "Odd", "Thing", True)]]), compat="official")
    assert list(strange["subtype"]) == ["0Odd/Thing"]


def test_a_summary_of_items(tmp_path):
    """Each item once, the last row counts, what a run lacks is wrong; by hand."""
    found = babyvision.summary(files(tmp_path), ddof=1)
    shares = [2 / 4, 1 / 4, 2 / 4]  # of items 1, 2, 3, 4
    assert found["overall"]["mean"] == pytest.approx(np.mean(shares))
    assert found["overall"]["std"] == pytest.approx(np.std(shares, ddof=1))
    assert found["overall"]["n"] == 4 and found["ddof"] == 1
    assert found["subtype"]["Find the same"]["mean"] == pytest.approx(np.mean([1 / 2, 1 / 2, 1]))
    assert found["type"][VT]["mean"] == pytest.approx(np.mean([1 / 2, 0, 0]))
    low, high = found["overall"]["interval"]
    assert 0 < low < 0.5 < high < 1
    asked = [item("Maze", "A")]
    assert babyvision.summary(files(tmp_path), items=asked)["overall"]["mean"] == 0
    for wrong, said in ((("nowhere.json",), "no such file"), ((), "nothing to sum up")):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            babyvision.summary([tmp_path / name for name in wrong])
    (tmp_path / "torn.json").write_text("[{")
    with pytest.raises(ValueError, match="torn.json: not JSON"):
        babyvision.summary([tmp_path / "torn.json"])
    (tmp_path / "torn.json").write_text(json.dumps([row("1", VT, "Maze", True)]))
    with pytest.raises(ValueError, match="torn.json, row 0: expected a whole number Id"):
        babyvision.summary([tmp_path / "torn.json"])


def test_runs_written_and_read(tmp_path):
    items = babyvision.read(folder(tmp_path / "data"))
    said = {445: r"It is \boxed{(4, 7)}", 7: r"\boxed{A}"}
    results.write(tmp_path / "model_results_run_1.json", items, said)
    rows = results.read(tmp_path / "model_results_run_1.json")
    assert set(rows[0]) == {*results.FIELDS, "Type", "Subtype"} and rows[2]["Error"] == "no answer"
    assert [one["LLMJudgeResult"] for one in rows] == [True, False, False]
    assert rows[0]["ExtractedAnswer"] == "(4, 7)" and rows[1]["GroundTruth"] == "B"
    scores = babyvision.evaluate(items, said)
    assert [score.right for score in scores] == [True, False, False] and scores == results.scores(rows)
    with pytest.raises(ValueError, match="answers to item 3, which is not among the 3 items"):
        babyvision.evaluate(items, {3: "A"})


# ----------------------------------------------------------------------------------------------------------------- draw


def mark(number, right, **more):
    return {"taskId": number, "type": FD, "subtype": "Count Clusters", "autoEval": right, "error": None} | more


def tasks(count):
    picture = pathlib.Path("a.png")
    return [babyvision.Item(i, FD, "Count Clusters", picture, "", "drawn", (), "") for i in range(count)]


def test_published_deviations():
    """Rounds of 9 with 1, 2 and 3 right: a deviation of 9.1 at ddof 0; of 280 with 24, 29 and 29: 1.03 at ddof 1."""
    nine = {f"round{i}": [mark(j, j < i) for j in range(9)] for i in (1, 2, 3)}
    found = generated.summary({"model": nine}, tasks(9), ddof=0)["models"]["model"]
    assert found["round_accuracies"] == pytest.approx([1 / 9, 2 / 9, 3 / 9])
    assert 100 * found["std_accuracy"] == pytest.approx(9.1, abs=0.05)
    rounds = {f"round{i}": [mark(j, j < n) for j in range(280)] for i, n in enumerate((24, 29, 29), 1)}
    found = generated.summary({"model": rounds}, tasks(280), compat="official")["models"]["model"]
    assert 100 * found["std_accuracy"] == pytest.approx(1.03, abs=0.005)


def test_dirty_rounds():
    """A repeated row, a task that is missing, one that failed, one without a type, rounds out of order."""
    rows = [mark(0, True), mark(0, True), mark(1, None, error="busy"), mark(2, False, missing_generation=True)]
    bare = {name: value for name, value in mark(3, True).items() if name not in ("type", "subtype")}
    rounds = {"round2": [*rows, bare], "round10": [mark(i, False) for i in range(5)]}
    found = generated.summary({"m": rounds}, tasks(5), compat="official")["models"]["m"]
    assert list(found["rounds"]) == ["round10", "round2"] and found["round_accuracies"] == [0, 3 / 5]
    told = found["rounds"]["round2"]
    counts = ("total", "evaluated", "correct", "incorrect", "missing_gen", "api_errors", "not_in_results")
    assert [told["overall"][name] for name in counts] == [5, 5, 3, 1, 1, 1, 0]
    assert told["breakdown"]["by_type"]["Unknown"] == {"correct": 1, "total": 1, "accuracy": 1.0}
    assert told["breakdown"]["by_type"][FD]["total"] == 5  # four rows, and the task that has none
    ours = generated.summary({"m": rounds}, tasks(5))["models"]["m"]
    assert list(ours["rounds"]) == ["round2", "round10"] and ours["round_accuracies"] == [2 / 5, 0]
    assert ours["rounds"]["round2"]["breakdown"]["by_type"] == {FD: {"correct": 2, "total": 5, "accuracy": 0.4}}
    with pytest.raises(ValueError, match="m, round1: task 9 is not among the 5"):
        generated.summary({"m": {"round1": [mark(9, True)]}}, tasks(5))


def test_rounds_in_a_folder(tmp_path):
    for name in ("round10", "round2"):
        (tmp_path / "m" / name).mkdir(parents=True)
        generated.write_eval(tmp_path / "m" / name / "eval.jsonl", [mark(0, True)])
    assert list(generated.rounds(tmp_path)["m"]) == ["round2", "round10"]
    with pytest.raises(FileNotFoundError, match=r"no MODEL/round\*/eval.jsonl"):
        generated.rounds(tmp_path / "m")
    path = tmp_path / "m" / "round2" / "eval.jsonl"
    for text, said in (
        ('{"taskId": 1', "line 1: not JSON"),
        ('\n{"autoEval": true}', "line 2: expected an object with a whole number taskId"),
        ('{"taskId": 1, "autoEval": "yes"}', "line 1, task 1: autoEval is 'yes'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            generated.rounds(tmp_path)


def test_generated_pictures(tmp_path):
    """The four names in their order; judged by a function or by a reply; what is missing counts as wrong."""
    items = babyvision.read(folder(tmp_path / "gen", GEN))
    images = tmp_path / "round1" / "images"
    images.mkdir(parents=True)
    assert generated.names(items[0]) == ("a_task1.png", "a_task1.jpg", "a.png", "a.jpg")
    for name in ("a.jpg", "a_task1.jpg"):
        Image.new("RGB", (4, 4)).save(images / name)
        assert generated.picture(images, items[0]) == images / name
    rows = generated.evaluate(items, images, lambda item, picture: picture.shape == (4, 4, 3))
    assert [one["autoEval"] for one in rows] == [True, False] and rows[1]["missing_generation"]
    rows = generated.evaluate(items, images, lambda item, picture: "hard to say")
    assert rows[0]["autoEval"] is None and rows[0]["error"] == "neither True nor False"
    generated.write_eval(tmp_path / "eval.jsonl", rows)
    assert generated.read_eval(tmp_path / "eval.jsonl") == rows
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(images / "a_task1.png")
    Image.new("RGB", (4, 4)).save(images / "b_task2.png")  # under a thousand bytes
    generated.write_results(tmp_path / "round1", items)
    told = [json.loads(line) for line in (tmp_path / "round1" / "results.jsonl").read_text().splitlines()]
    assert [one["generated_image"] for one in told] == ["images/a_task1.png", None]


def test_padding():
    """Twice as wide as high: as wide as the square, in the middle of white, to the pixel."""
    found = generated.padded(np.full((50, 100, 3), 7, np.uint8), 64)
    assert found.shape == (64, 64, 3)
    rows = np.flatnonzero((found == 7).all((1, 2)))
    assert (rows[0], rows[-1]) == (16, 47) and (found[:16] == 255).all() and (found[48:] == 255).all()
    assert generated.padded(np.zeros((3, 1000, 3), np.uint8), 64).shape == (64, 64, 3)


def test_letters():
    assert [lists.letter(i) for i in (0, 5)] == ["A", "F"]

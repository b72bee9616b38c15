"""What a reader sees of a committed notebook before running it. (That its cells run, nbmake tests.)"""

import ast
import functools
import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST = 3_000_000  # bytes of all of them


@functools.cache
def cells(path):
    return json.loads(path.read_text("utf-8"))["cells"]


def code(path):
    return [(cell, "".join(cell["source"])) for cell in cells(path) if cell["cell_type"] == "code"]


def shows(source: str) -> bool:
    """Whether the last line of a cell is there to be seen: an expression that is no call of print."""
    plain = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
    last = ast.parse(plain).body[-1]
    printed = (
        isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and ast.unparse(last.value.func) == "print"
    )
    return isinstance(last, ast.Expr) and not printed


def data(cell) -> dict:
    return {kind: value for output in cell["outputs"] for kind, value in output.get("data", {}).items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_cell_shows_is_a_picture_or_html_or_one_line(path):
    pictures = 0
    for cell, source in code(path):
        assert cell["execution_count"], source
        assert not [out for out in cell["outputs"] if out["output_type"] == "error" or out.get("name") == "stderr"], (
            source
        )
        seen = data(cell)
        assert bool(seen) == shows(source), source
        if "image/png" in seen or "<iframe" in "".join(seen.get("text/html", "")):
            pictures += 1
        elif seen and "text/html" not in seen:
            lines = "".join(seen["text/plain"]).splitlines()
            assert len(lines) <= 8 and all(len(line) < 400 for line in lines), source
    assert pictures >= 2


# A path from the root of some disk. In pictures (base64) and addresses a slash never stands behind a space or a quote.
PATH = re.compile(r"""(?<![\w.:/<+=*-])/(?:[\w.-]+/){2,}[\w.-]|[A-Z]:\\{1,2}\w+\\|site-packages""")


def test_paths_of_a_machine_are_known():
    for text in ("in '/somewhere/of/mine'", "at /a/b/c.py", "D:\\\\me\\\\runs", "lib/site-packages/x"):
        assert PATH.search(text), text
    for text in (
        "http://www.w3.org/2000/svg",
        "image/png;base64,a/b+/c/d/e=",
        "</div></p>",
        "runs/a/b",
        "and/or",
        "/s",
    ):
        assert not PATH.search(text), text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_text_to_learn_from(path):
    first, last = cells(path)[0], [cell for cell in cells(path) if cell["cell_type"] == "markdown"][-1]
    assert first["cell_type"] == "markdown" and "".join(first["source"]).startswith("# ")
    assert "**Now you.**" in "".join(last["source"])
    for before, cell in zip(cells(path), cells(path)[1:], strict=False):
        lines = "".join(cell["source"]).splitlines()
        assert all(len(line) <= (120 if cell["cell_type"] == "code" else 130) for line in lines), lines
        assert len(lines) <= 30 and not (before["cell_type"] == cell["cell_type"] == "markdown")


def test_they_are_small_and_of_no_machine():
    texts = {path.stem: path.read_text("utf-8") for path in NOTEBOOKS}
    assert sum(map(len, texts.values())) < MOST, {name: len(text) for name, text in texts.items()}
    for name, text in texts.items():
        found = PATH.search(text)
        assert not found, (name, text[max(0, found.start() - 80) : found.end() + 80])
        page = json.loads(text)
        assert set(page["metadata"]) <= {"kernelspec", "language_info"} and not any(
            c["metadata"] for c in page["cells"]
        )


def test_the_tours_are_there():
    tours = {"look", "intervene", "your_own_maze", "train_and_watch", "wan_folder"}
    assert {path.stem for path in NOTEBOOKS} >= tours | {"chain_of_steps", "realdpo", "vchain", "vimogen"}

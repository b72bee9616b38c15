"""What a reader sees of a committed notebook before running it. (That its cells run, nbmake tests.)"""

import json
import pathlib

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_committed_and_figures_are_pictures(path):
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    shown = [output["data"] for cell in cells for output in cell["outputs"] if "data" in output]
    assert all(cell["execution_count"] for cell in cells)
    assert sum("image/png" in data for data in shown) >= 2
    figures = [data for data in shown if "Axes>" in "".join(data.get("text/plain", ""))]
    assert all("image/png" in data for data in figures)
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]

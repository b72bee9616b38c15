"""The house's order, read from the sources alone: who may import whom, how long a file is, which words are taken."""

import ast
import functools
import pathlib
import re
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FLOORS = (
    ("tasks", "drive", "motion", "parallel", "flow", "files"),
    ("models", "report"),
    ("data",),
    ("train", "bench"),
    ("world", "inverse", "align", "reasoning"),
    ("study", "plan"),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ONCE = ("Clip", "Arm", "Study", "Plan", "Run", "Codec")
LONGEST = 400
# Declared for what they bring rather than for their names: another package, a command, a plugin, a second format.
NOT_IMPORTED = {
    "libtpu",
    "beartype",
    "pytest-xdist",
    "nbmake",
    "ipykernel",
    "jupyterlab",
    "ruff",
    "basedpyright",
    "transformers",
}
NAMES = {"pillow": "PIL", "orbax-checkpoint": "orbax", "ott-jax": "ott", "POT": "ot"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of vrjax, experiments and configs by its dotted name, a package by its own."""
    out = {}
    for top in ("vrjax", "experiments", "configs"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            out[name.removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return out


def imported(tree: ast.Module) -> set[str]:
    """Dotted names that a source imports, at the top or inside functions; `from a import b` counts as `a.b`."""
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"a relative import of {node.module}"
            out |= {f"{node.module}.{alias.name}" for alias in node.names}
    return out


@functools.cache
def graph() -> dict[str, set[str]]:
    """Module -> the modules of this repository that its imports name; a name inside a module means the module."""
    known = modules()

    def file_of(name: str) -> str | None:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name or None

    return {
        name: {file for other in imported(tree) if (file := file_of(other)) is not None and file != name}
        for name, tree in known.items()
    }


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan)."""
    index, low, stack, out = {}, {}, [], []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                out.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return out


def floor(name: str) -> int:
    """Floor of a module; experiments and configs stand on top of all, the package itself is `vrjax.load`'s door."""
    top, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    if top != "vrjax":
        return len(FLOORS)
    return FLOOR[room] if room else FLOOR["study"]


def test_the_search_for_circles_finds_one():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_room_has_a_floor():
    rooms = {p.name for p in (ROOT / "vrjax").iterdir() if any(p.glob("*.py"))}
    assert rooms <= FLOOR.keys(), rooms - FLOOR.keys()
    assert {p.name for p in (ROOT / "vrjax").glob("*.py")} == {"__init__.py"}


def test_no_circles():
    assert circles(graph()) == []


def test_no_import_runs_upward():
    upward = {
        f"{name} -> {other}" for name, others in graph().items() for other in others if floor(other) > floor(name)
    }
    assert not upward, sorted(upward)


def test_a_paper_never_imports_another_paper():
    def paper(name: str) -> str | None:
        parts = name.split(".")
        return parts[1] if parts[0] in ("experiments", "configs") and len(parts) > 2 else None

    across = {
        f"{name} -> {other}"
        for name, others in graph().items()
        for other in others
        if paper(name) and paper(other) and paper(name) != paper(other)
    }
    assert not across, sorted(across)


def test_no_file_is_two_ideas():
    lines = {
        p: p.read_text("utf-8").count("\n") for top in ("vrjax", "experiments") for p in (ROOT / top).rglob("*.py")
    }
    long = {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > LONGEST}
    assert not long


def test_every_room_says_what_is_in_it():
    """One table in the docstring of every room, with a row for each of its files and folders."""
    missing = {}
    for room in sorted(p for p in (ROOT / "vrjax").iterdir() if (p / "__init__.py").exists()):
        text = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""
        table = " ".join(line for line in text.splitlines() if line.startswith("|"))
        inside = {p.stem for p in room.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
        rows = {name for name in inside if not name.startswith("_") and not re.search(rf"\b{name}\b", table)}
        if rows:
            missing[room.name] = sorted(rows)
    assert not missing


@pytest.mark.parametrize("word", ONCE)
def test_one_word_one_meaning(word):
    where = [
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == word
    ]
    assert len(where) <= 1, where


@functools.cache
def declared() -> dict[str, set[str]]:
    """Distributions of pyproject.toml, by extra; "" holds the dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    name = lambda line: re.match(r"[\w.-]+(\[\w+\])?", line)[0]
    out = {"": {name(line) for line in project["dependencies"]}}
    return out | {extra: {name(line) for line in lines} for extra, lines in project["optional-dependencies"].items()}


@functools.cache
def tops(*folders: str) -> set[str]:
    """Top-level names from outside the standard library and the repository that the sources in folders import."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            found |= {name.partition(".")[0] for name in imported(ast.parse(path.read_text("utf-8")))}
    local = {"vrjax", "experiments", "configs", "tests"} | {p.stem for p in (ROOT / "tests").rglob("*.py")}
    return found - set(sys.stdlib_module_names) - local


def module_of(distribution: str) -> str:
    return NAMES.get(distribution, distribution.partition("[")[0].replace("-", "_"))


def test_what_is_imported_is_declared():
    core = {module_of(d) for d in declared()[""]}
    optional = {module_of(d) for extra in declared().values() for d in extra}
    assert tops("vrjax", "experiments", "configs", "tests") - optional == set()
    extras = {module_of(d) for name, extra in declared().items() if name for d in extra} - core
    at_top = {
        f"{name}: {top}"
        for name, tree in modules().items()
        if name.startswith("vrjax")
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for top in {other.partition(".")[0] for other in imported(ast.Module([node], []))} & extras
    }
    assert not at_top, "an extra's package must be imported inside the function that needs it"


def test_what_is_declared_is_imported():
    core = {d for d in declared()[""] if module_of(d) not in tops("vrjax")}
    assert not core, f"dependencies that vrjax imports nowhere: {core}"
    everywhere = tops("vrjax", "experiments", "configs", "tests")
    extras = {d for extra in declared().values() for d in extra if module_of(d) not in everywhere}
    assert extras <= NOT_IMPORTED, extras - NOT_IMPORTED

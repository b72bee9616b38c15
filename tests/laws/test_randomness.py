"""Nothing is drawn from a generator that no seed was given to: read from the sources, so that a study need not be
measured twice for it."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = sorted(path for room in ("vrjax", "experiments", "configs") for path in (ROOT / room).rglob("*.py"))
KINDS = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}
"""What numpy.random has that keeps its state where its caller sees it."""
ALLOWED = {"vrjax/train/loggers.py": ["uuid.uuid4"], "vrjax/world/play/server.py": ["secrets.token_urlsafe"]}
"""What must be unlike anywhere else, and nothing is computed with it: a run's id in a logger, the nonce of a page."""


def unseeded(source: str) -> list[str]:
    """Calls in a source that draw from hidden or fresh entropy, as they are written there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, empty = ast.unparse(node.func), not node.args and not node.keywords
        head, _, last = name.rpartition(".")
        numpy = head in ("np.random", "numpy.random")
        if (numpy and last not in KINDS) or (empty and last in KINDS) or (empty and name == "random.Random"):
            found.append(name)
        if head == "random" and last not in ("Random", "key", "PRNGKey", "split", "fold_in"):
            found.append(name)
        if head == "secrets" or last in ("urandom", "uuid1", "uuid4", "SystemRandom"):
            found.append(name)
    return found


@functools.cache
def calls() -> dict[str, list[str]]:
    each = {path.relative_to(ROOT).as_posix(): unseeded(path.read_text("utf-8")) for path in SOURCES}
    return {path: found for path, found in each.items() if found}


def test_every_draw_has_a_seed():
    assert calls() == ALLOWED


@pytest.mark.parametrize(
    "line, found",
    [
        ("rng = np.random.default_rng()", ["np.random.default_rng"]),
        ("np.random.seed(0); x = np.random.normal(size=3)", ["np.random.seed", "np.random.normal"]),
        ("random.Random()", ["random.Random"]),
        ("random.shuffle(rows)", ["random.shuffle"]),
        ("key = jax.random.key(int.from_bytes(os.urandom(4)))", ["os.urandom"]),
        ("np.random.default_rng(3).normal(); jax.random.normal(key); random.Random(4).choice(x)", []),
    ],
)
def test_it_sees(line, found):
    assert unseeded(line) == found

"""Score cards of the ladder side by side: worlds by the twenty checks of `vrjax ladder`.

    python -m experiments.world_model.cards runs/ladder-*              # from the folders that `vrjax ladder` wrote
    python -m experiments.world_model.cards runs/ladder-* --write      # into ladder.md and cards.json beside this file
    python -m experiments.world_model.cards                            # the committed ones again
    python -m experiments.world_model.cards --conditions               # the survey's table of conditions, computed

One of the checks (P1) is a time: cards are made one after the other, and nothing else runs beside them.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vrjax.files import writing
from vrjax.report.tables import markdown

HOME = pathlib.Path(__file__).parent
KEPT, PAGE, CONDITIONS = HOME / "cards.json", HOME / "ladder.md", HOME / "conditions.md"
FIELDS = ("asked", "control", "truth", "quick", "generation", "rows")
"""What is kept of a card, beside the denoising steps of a world that has them."""
MARKS = {"passed": "✓", "failed": "✗", "not applicable": "", "not tested": "?"}
LEGEND = """\
✓ passed, ✗ failed; empty: the world lacks what is asked; ?: the exact world itself had too little to
compare with. A generation (F, I, P, S) is reached where all of its checks, and of those before it, were passed."""


def read(folders: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """The cards in folders, in order.

    Raises:
        FileNotFoundError, ValueError: a folder has none, or a torn one; the folder is named.
    """
    out = []
    for folder in folders:
        path = folder / "card.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: no card.json; `vrjax ladder WORLD --out {folder}` writes one")
        try:
            card = json.loads(path.read_text("utf-8"))
            out.append({name: card[name] for name in FIELDS} | {"steps": card.get("steps")})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: no score card ({error})") from None
    return out


def called(card: Mapping[str, Any]) -> str:
    """What stands in front of a row."""
    steps = card.get("steps")
    told = f", {steps} denoising step{'s' * (steps > 1)}" if steps else ""
    of = f" of {card['asked']}" if card["control"] else card["asked"]
    return f"{card['control'] or ''}{of}{told}" + (", quick sizes" if card["quick"] else "")


def table(cards: Sequence[Mapping[str, Any]]) -> str:
    """Cards as markdown: a row a world, a column a check, and the generation that was reached."""
    names = list(dict.fromkeys(row["name"] for card in cards for row in card["rows"]))
    lines = []
    for card in cards:
        marks = {row["name"]: MARKS[row["verdict"]] for row in card["rows"]}
        lines.append([called(card), card["truth"], str(card["generation"]), *(marks.get(name, "") for name in names)])
    return markdown(["world", "held against", "generation", *names], lines)


def page(cards: Sequence[Mapping[str, Any]]) -> str:
    """The table, and of each card by which numbers it failed."""
    lines = ["# Worlds on the ladder", "", LEGEND, "", table(cards).rstrip(), "", "What was failed:", ""]
    for card in cards:
        failed = [f"{row['name']} {row['title']}: {row['why']}" for row in card["rows"] if row["verdict"] == "failed"]
        if failed:
            lines += [f"- {called(card)}", *[f"  - {line}" for line in failed]]
    return "\n".join(lines) + "\n"


def conditions() -> str:
    """The survey's table, computed on MiniDrive, as a page."""
    import jax

    from vrjax.world import exact
    from vrjax.world.ladder import conditions as computed

    rows = computed.table(exact.get("drive"), jax.random.key(0))
    head = """# Conditions: in time (T), independent of content (R), spatial (S)

The survey's table 1 asserts three marks for each condition; here each is a number of MiniDrive and a threshold
(`vrjax.world.ladder.conditions`). `python -m experiments.world_model.cards --conditions` computes them."""
    return f"{head}\n\n{computed.show(rows)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.world_model.cards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER", help="of `vrjax ladder`")
    parser.add_argument("--conditions", action="store_true", help="compute the survey's table (a minute), no cards")
    parser.add_argument("--write", action="store_true", help="write what is printed into the files that are committed")
    given = parser.parse_args(argv)
    if given.conditions:
        told = conditions()
        if given.write:
            writing.text(CONDITIONS, told)
        print(told)
        return 0
    try:
        cards = read(given.folders) if given.folders else json.loads(KEPT.read_text("utf-8"))
        told = page(cards)
        if given.write:
            writing.json(KEPT, cards)
            writing.text(PAGE, told)
    except (ValueError, OSError) as error:
        print(f"world_model: {error}", file=sys.stderr)
        return 2
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Score cards of the ladder side by side: worlds by the twenty checks of `vrjax ladder`.

    python -m experiments.world_model.cards runs/ladder-*              # from the folders that `vrjax ladder` wrote
    python -m experiments.world_model.cards runs/ladder-* --write      # into ladder.md and cards.json beside this file
    python -m experiments.world_model.cards                            # the committed ones again

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
KEPT, PAGE = HOME / "cards.json", HOME / "ladder.md"
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
            out.append({name: card[name] for name in ("world", "control", "truth", "steps", "quick") if name in card})
            out[-1] |= {"generation": card["generation"], "rows": card["rows"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: no score card ({error})") from None
    return out


def called(card: Mapping[str, Any]) -> str:
    """What stands in front of a row."""
    steps = card.get("steps")
    told = f", {steps} denoising step{'s' * (steps > 1)}" if steps else ""
    return f"{card['control'] or card['world']}{told}" + (", quick sizes" if card["quick"] else "")


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


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.world_model.cards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER", help="of `vrjax ladder`")
    parser.add_argument("--write", action="store_true", help="write ladder.md and cards.json, which are committed")
    given = parser.parse_args(argv)
    try:
        cards = read(given.folders) if given.folders else json.loads(KEPT.read_text("utf-8"))
        told = page(cards)
        if given.write:
            writing.json(KEPT, cards)
            writing.text(PAGE, page(cards))
    except (ValueError, OSError) as error:
        print(f"world_model: {error}", file=sys.stderr)
        return 2
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""BabyVision's folders: `meta_data.jsonl` with pictures beside it, of the track that answers and of the one that draws;
or the hub's copies of both.

Layouts after the repository UniPat-AI/BabyVision (7f92fd4) and its two archives. Nothing outside of a folder is read,
whatever its rows say.
"""

import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vrjax.bench.babyvision import hub
from vrjax.files import given, pixels, writing
from vrjax.tasks.puzzles.item import TYPE_OF, Item, canonical

META = "meta_data.jsonl"
INSIDE = ("babyvision_data", "babyvision_gen_data")
"""Folders that the archives unpack to: a folder that holds one of them is read as that one."""
SUFFIXES = (".png", ".jpg", ".jpeg")
NOTHING = "null"
"""What stands in the place of an answer that an item has not."""
NEEDED = ("taskId", "type", "subtype", "image")


def read(folder: str | os.PathLike) -> list[Item]:
    """The items of a folder, in the file's order. Pictures are looked for now and read when they are asked for.

    Rows with a `generationPrompt` are of the track that draws: their `kind` is "drawn", and they have an
    `answer_image`. Subtypes are read in any spelling.

    Args:
        folder: that has `meta_data.jsonl`, or the folder of an archive's; or one of the hub's, or its parquet file
            (with the extra `babyvision`).

    Raises:
        FileNotFoundError: no such folder, neither `meta_data.jsonl` nor parquet in it, a picture that is not there.
        ValueError: a torn line or file, a field that is missing or wrong, a number that comes twice, a picture's path
            that leads out of the folder; the line names item and field.
        ImportError: parquet, and pyarrow is not installed.
    """
    root, copies = _root(pathlib.Path(folder))
    items: list[Item] = []
    seen: dict[int, str] = {}
    for where, row in (pair for copy in copies for pair in hub.rows(copy)) if copies else _lines(root / META):
        item = _item(root, row, where)
        if item.task_id in seen:
            raise ValueError(f"{where}: taskId {item.task_id} stands in {seen[item.task_id]} already")
        seen[item.task_id] = where.removeprefix(f"{root / META}, ")
        items.append(item)
    if not items:
        raise ValueError(f"{copies[0] if copies else root / META}: no items")
    return items


def _lines(path: pathlib.Path) -> Iterator[tuple[str, Any]]:
    """Where each line stands, and what it says."""
    for at, line in enumerate(given.text(path).replace("\r\n", "\n").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {at}"
        try:
            yield where, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON ({error}); an unfinished download?") from None


def _root(folder: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """The folder of the lines, or the parquet files in the place of them."""
    copies = hub.files(folder)
    if not folder.is_dir() and not copies:
        raise FileNotFoundError(f"{folder}: no such folder")
    for root in (folder, *(folder / name for name in INSIDE)):
        if (root / META).is_file():
            return root, []
    if not copies:
        raise FileNotFoundError(
            f"{folder}: neither {META} nor parquet in it, expected a folder of BabyVision or BabyVision-Gen"
        )
    return folder, copies


def _item(root: pathlib.Path, row: Any, where: str) -> Item:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: found {type(row).__name__}, expected an object")
    if lacking := [name for name in NEEDED if name not in row]:
        raise ValueError(f"{where}: no {lacking[0]}")
    number = row["taskId"]
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"{where}: taskId is {number!r:.60}, expected a whole number")
    where = f"{where}, item {number}"
    try:
        subtype = canonical(row["subtype"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    kind = TYPE_OF[subtype]
    if str(row["type"]).strip().casefold() != kind.casefold():
        raise ValueError(f"{where}: type is {row['type']!r:.60}, expected {kind!r}, that of {subtype}")
    text = lambda name: _text(row, name, where)
    draws = "generationPrompt" in row
    options = row.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ValueError(f"{where}: options is {options!r:.60}, expected a list of texts")
    answered: dict[str, Any] = {"kind": "drawn", "options": tuple(options), "answer": ""}
    if not draws or "ansType" in row:
        answered = _answered(row, options, where) | ({"kind": "drawn"} if draws else {})
    drawn = picture(root, row["answerImage"], f"{where}, answerImage") if row.get("answerImage") else None
    return Item(
        task_id=number,
        type=kind,
        subtype=subtype,
        image=picture(root, row["image"], f"{where}, image"),
        question=text("question") if not draws or "question" in row else "",
        reasoning=text("coT") if "coT" in row else "",
        prompt=text("generationPrompt") if draws else "",
        answer_image=drawn,
        **answered,
    )


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    found = row.get(name)
    if not isinstance(found, str):
        raise ValueError(f"{where}: {name} is {found!r:.60}, expected a text")
    return found


def _answered(row: Mapping[str, Any], options: Sequence[str], where: str) -> dict[str, Any]:
    """Kind, options and answer; a choice's is its letter, `choiceAns` being its place from 0 on."""
    kind = row.get("ansType")
    if kind == "blank":
        answer = row.get("blankAns")
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            answer = str(answer)
        if not isinstance(answer, str) or answer in ("", NOTHING):
            raise ValueError(f"{where}: blankAns is {answer!r:.60}, expected the answer of a blank")
        return {"kind": "blank", "options": (), "answer": answer}
    if kind != "choice":
        raise ValueError(f"{where}: ansType is {kind!r:.60}, expected 'blank' or 'choice'")
    found = row.get("choiceAns")
    place = int(found) if isinstance(found, str) and found.strip().isdecimal() else found
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(options):
        counted = " (counted from 1? it is from 0)" if place == len(options) and options else ""
        raise ValueError(
            f"{where}: choiceAns is {found!r:.60} of {len(options)} options, expected their place{counted}"
        )
    return {"kind": "choice", "options": tuple(options), "answer": letter(place)}


def letter(place: int) -> str:
    """The letter of an option."""
    return chr(ord("A") + place)


def picture(root: pathlib.Path, name: Any, where: str) -> pathlib.Path | bytes:
    """The path of a picture that a row names, within its folder; or the file's bytes, where the row has those.

    Raises:
        FileNotFoundError: none there. ValueError: no name of a picture, or one that leads out of the folder, also by
            a link.
    """
    if isinstance(name, bytes):
        return name
    if not isinstance(name, str) or pathlib.PurePosixPath(name).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{where}: {name!r:.80}, expected the path of a {', '.join(SUFFIXES)}")
    path = root / name
    if given.outside(name) or not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{where}: {name!r:.80} leads out of {root}")
    if not path.is_file():
        raise FileNotFoundError(f"{where}: no picture {path}")
    return path


def write(items: Iterable[Item], folder: str | os.PathLike) -> pathlib.Path:
    """Items as a folder of the benchmark's layout, pictures as PNG; the folder.

    Items with a prompt and an answer drawn have the fields of both tracks, so that either code reads them.

    Args:
        items: generated ones, or others whose pictures may be copied.
        folder: where; one that holds items already is refused.

    Raises:
        ValueError: the folder has items, no items, a number that comes twice.
    """
    root, rows = pathlib.Path(folder), []
    items = list(items)
    if (root / META).exists():
        raise ValueError(f"{root}: has items already")
    if not items or len({item.task_id for item in items}) < len(items):
        raise ValueError(f"{root}: expected items with numbers of their own, found {len(items)}")
    for item in items:
        name = f"{item.task_id}.png"
        pictures = {"images": item.image} | ({} if item.answer_image is None else {"answerImages": item.answer_image})
        for inside, found in pictures.items():
            (root / inside).mkdir(parents=True, exist_ok=True)
            writing.chunks(root / inside / name, [pixels.png(found)])
        rows.append(_row(item, name))
    writing.text(root / META, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return root


def _row(item: Item, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"taskId": item.task_id, "status": "1", "type": item.type, "subtype": item.subtype}
    row |= {"image": f"images/{name}"}
    if item.answer:
        choice = bool(item.options)
        row |= {"question": item.question, "ansType": "choice" if choice else "blank", "options": list(item.options)}
        row |= {"choiceAns": ord(item.answer) - ord("A") if choice else NOTHING}
        row |= {"blankAns": NOTHING if choice else item.answer, "coT": item.reasoning}
    if item.answer_image is not None:
        row |= {"generationPrompt": item.prompt, "answerImage": f"answerImages/{name}"}
    return row

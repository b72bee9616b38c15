"""The files of VChain: `reasoning.json`, `metadata.csv` and the keyframes, read and written.

    <folder>/
      reasoning.json            {"<case>": {"input_prompt", "thoughts", "consequences", "context_frame",
                                            "concise_prompt", "key_frames": [caption, ...]}}
      metadata.csv              "file_name","text"; a row per keyframe: <case>_0.png has the concise prompt,
                                <case>_i.png has key_frames[i - 1]
      train/<case>_<i>.png      the keyframes (also found beside reasoning.json, and as .jpg, .jpeg or .webp)

This is what the authors' trainer takes, so chains made here tune there, and the other way round. The files are data of
others: a name in them that is no plain file name, or a link that leads out of the folder, is an error, never a path.
"""

import csv
import io
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vrjax.files import writing
from vrjax.reasoning.thoughts import keyframes, pictures
from vrjax.reasoning.thoughts.keyframes import VisualThoughts

HEADER = ["file_name", "text"]
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_TEXTS = ("input_prompt", "thoughts", "consequences", "context_frame", "concise_prompt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
_LONGEST = 100  # characters of a case's name
_MAX_TEXT = 1 << 24  # bytes of reasoning.json or metadata.csv
_MAX_IMAGE = 1 << 26  # bytes of one image file


def read(folder: str | os.PathLike) -> dict[str, VisualThoughts]:
    """All cases of a folder, in the order of reasoning.json.

    Without a metadata.csv its rows are taken from reasoning.json, which says the same; with one, the two must agree.
    `thoughts` and `consequences` may be lists of strings there; they become lines.

    Raises:
        FileNotFoundError: no folder, no reasoning.json, or a keyframe is missing. NotADirectoryError: a file.
        ValueError: a file that is torn, of another kind or too large; unknown, missing or repeated entries; texts that
            disagree; names that are not plain; links that lead out of the folder. The message names the file.
    """
    root = pathlib.Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder, expected one with reasoning.json")
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: is a file, expected a folder with reasoning.json")
    cases = _reasoning(root)
    names = _metadata(root, cases)
    found = {}
    for case, entry in cases.items():
        frames = tuple(_picture(root, names, f"{case}_{i}") for i in range(1 + len(entry["key_frames"])))
        texts = {name: entry[name] for name in _TEXTS}
        thoughts = VisualThoughts(**texts, key_frames=tuple(entry["key_frames"]), frames=frames)
        found[case] = keyframes.check(thoughts, f"{root / 'reasoning.json'}: case {case!r}")
    return found


def write(folder: str | os.PathLike, cases: Mapping[str, VisualThoughts]) -> pathlib.Path:
    """Writes chains as a new folder that appears complete or not at all; `read` gives them back exactly.

    Args:
        folder: must not exist yet.
        cases: by name: letters, digits, '.', '_', '-' and spaces. Names that differ only in case collide on some
            systems and are refused.

    Raises:
        FileExistsError: the folder exists. ValueError: no case, a name that is not plain, or thoughts that are not
            whole (see `keyframes.check`).
    """
    folder = pathlib.Path(folder)
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder}: exists already; visual thoughts are written to a new folder")
    if not cases:
        raise ValueError(f"{folder}: no cases to write")
    if len({case.lower() for case in cases}) < len(cases):
        raise ValueError(f"{folder}: case names that differ only in upper and lower case: {sorted(cases)}")
    table = io.StringIO(newline="")
    rows = csv.writer(table, quoting=csv.QUOTE_ALL, lineterminator="\n")
    rows.writerow(HEADER)
    entries, images = {}, {}
    for case, thoughts in cases.items():
        _plain(case, f"{folder}: case name")
        keyframes.check(thoughts, f"{folder}: case {case!r}")
        texts = {name: getattr(thoughts, name) for name in _TEXTS}
        entries[case] = texts | {"key_frames": list(thoughts.key_frames)}
        for i, (caption, frame) in enumerate(zip(thoughts.captions, thoughts.frames, strict=True)):
            rows.writerow([f"{case}_{i}.png", caption])
            images[f"{case}_{i}.png"] = frame
    with writing.folder(folder) as scratch:
        (scratch / "train").mkdir()
        for name, frame in images.items():
            (scratch / "train" / name).write_bytes(pictures.png(frame))
        (scratch / "metadata.csv").write_bytes(table.getvalue().encode())
        text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
        (scratch / "reasoning.json").write_bytes(text.encode())
    return folder


# ------------------------------------------------------------------------------------------------------------- reading


def _reasoning(root: pathlib.Path) -> dict[str, dict[str, Any]]:
    path = root / "reasoning.json"

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        again = sorted({name for name in names if names.count(name) > 1})
        if again:
            raise ValueError(f"{path}: names that occur twice: {again}")
        return dict(pairs)

    try:
        found = json.loads(_text(root, path), object_pairs_hook=unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path}: holds {_kind(found)}, expected an object with a case or more")
    for case, entry in found.items():
        where = f"{path}: case {case!r}"
        _plain(case, f"{path}: case name")
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: holds {_kind(entry)}, expected an object")
        expected = {*_TEXTS, "key_frames"}
        if entry.keys() != expected:
            missing, unknown = sorted(expected - entry.keys()), sorted(entry.keys() - expected)
            raise ValueError(f"{where}: missing entries {missing}, unknown entries {unknown}")
        for name in ("thoughts", "consequences"):
            if isinstance(entry[name], list) and all(isinstance(line, str) for line in entry[name]):
                entry[name] = "\n".join(entry[name])
        captions = entry["key_frames"]
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
            raise ValueError(f"{where}: key_frames is {_kind(captions)}, expected a list of strings")
        for name in _TEXTS:
            if not isinstance(entry[name], str):
                raise ValueError(f"{where}: {name} is {_kind(entry[name])}, expected a string")
    return found


def _metadata(root: pathlib.Path, cases: dict[str, dict[str, Any]]) -> dict[str, str] | None:
    """`<case>_<i>` -> file name, from metadata.csv; None if there is none."""
    path = root / "metadata.csv"
    if not path.exists() and not path.is_symlink():
        return None
    try:
        rows = list(csv.reader(io.StringIO(_text(root, path), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}: not readable as CSV ({error})") from error
    if not rows or rows[0] != HEADER:
        raise ValueError(f"{path}: the header is {rows[0] if rows else 'missing'}, expected {HEADER}")
    captions = {
        f"{case}_{i}": text
        for case, entry in cases.items()
        for i, text in enumerate([entry["concise_prompt"], *entry["key_frames"]])
    }
    names: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(HEADER):
            raise ValueError(f"{path}: row {number} has {len(row)} columns, expected {HEADER}")
        name, text = row
        stem, dot, ending = _plain(name, f"{path}: file_name of row {number}", _LONGEST + 20).rpartition(".")
        if dot + ending.lower() not in ENDINGS:
            raise ValueError(f"{path}: row {number} names {name!r}, expected one of {', '.join(ENDINGS)}")
        if stem not in captions or stem in names:
            what = "is there twice" if stem in names else "is no keyframe of a case in reasoning.json"
            raise ValueError(f"{path}: row {number}, {name!r}, {what}")
        if text != captions[stem]:
            raise ValueError(
                f"{path}: row {number}, {name!r}, has the text {_short(text)}, but reasoning.json says "
                f"{_short(captions[stem])}"
            )
        names[stem] = name
    missing = [stem for stem in captions if stem not in names]
    if missing:
        raise ValueError(f"{path}: no row for the keyframes {missing[:8]} of reasoning.json")
    return names


def _picture(root: pathlib.Path, names: dict[str, str] | None, stem: str) -> np.ndarray:
    tried = [stem + ending for ending in ENDINGS] if names is None else [names[stem]]
    for path in (folder / name for folder in (root / "train", root) for name in tried):
        if path.is_file():
            return pictures.decode(_bytes(root, path, _MAX_IMAGE), str(path))
    where = root / "train" / tried[0]
    raise FileNotFoundError(f"{where}: missing keyframe (also looked beside reasoning.json)")


def _text(root: pathlib.Path, path: pathlib.Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing")
    try:
        return _bytes(root, path, _MAX_TEXT).decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error


def _bytes(root: pathlib.Path, path: pathlib.Path, most: int) -> bytes:
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path}: a link that leads out of the folder {root}")
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: {size} bytes, expected at most {most}")
    return path.read_bytes()


def _plain(name: str, what: str, most: int = _LONGEST) -> str:
    if not _NAME.fullmatch(name) or ".." in name or name[-1] in ". " or len(name) > most:
        raise ValueError(
            f"{what} is {_short(name)}, expected a plain name: up to {most} letters, digits, '.', '_', '-' and spaces, "
            "beginning with a letter or digit, without '..', not ending in '.' or a space"
        )
    return name


def _kind(value: Any) -> str:
    return "an empty object" if value == {} else f"a {type(value).__name__}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")

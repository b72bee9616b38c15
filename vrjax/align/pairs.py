"""RealDPO's own folder layout: real winners and generated losers as files, read strictly.

    train_data/
      prompt.txt                               one caption per line
      video.txt                                one relative path per line, e.g. videos/4873105.mp4
      videos/<stem>.mp4
      first_frames/videos_<stem>.png           optional; the winner's frame 0 otherwise
      negative_samples/<stem>/{0..N-1}.mp4

Everything in such a tree is data of others: a listed path that leaves the folder is refused. Nothing is skipped; what
is missing or cannot be read is an error that names the file.
"""

import os
import pathlib
from typing import NamedTuple

from vrjax.files import given

FPS = 8  # of the published losers


class Pair(NamedTuple):
    """One winner with its losers, as files.

    Attributes:
        name: stem of the winner's file.
        prompt: its caption.
        win: the real clip.
        lose: the base model's samples for the same caption and first frame, in the order of their numbers.
        first_frame: the image the losers were made from, or None where the layout has none.
    """

    name: str
    prompt: str
    win: pathlib.Path
    lose: tuple[pathlib.Path, ...]
    first_frame: pathlib.Path | None


def read(root: str | os.PathLike, *, losers: int | None = None) -> list[Pair]:
    """The pairs of a training folder, in the order of `video.txt`; every file is there, none is opened.

    Args:
        root: the folder that holds `prompt.txt` and `video.txt`.
        losers: how many losers each pair must have, the first ones of more; by default as many as the first pair has.
            0 asks for none, before they are generated.

    Raises:
        FileNotFoundError: a list, a video or a loser is missing.
        ValueError: lists of different lengths, an empty caption, a path that leaves the folder, the same stem twice.
    """
    root = pathlib.Path(root)
    prompts, videos = _lines(root / "prompt.txt"), _lines(root / "video.txt")
    if len(prompts) != len(videos):
        raise ValueError(f"{root}: prompt.txt has {len(prompts)} lines, video.txt {len(videos)}")
    if not videos:
        raise ValueError(f"{root / 'video.txt'}: lists no video")
    out: list[Pair] = []
    seen: dict[str, int] = {}
    for line, (prompt, relative) in enumerate(zip(prompts, videos, strict=True), 1):
        win = _inside(root, relative, f"{root / 'video.txt'}, line {line}")
        if not win.is_file():
            raise FileNotFoundError(f"{win}: missing, listed in {root / 'video.txt'}, line {line}")
        if not prompt:
            raise ValueError(f"{root / 'prompt.txt'}, line {line}: the caption is empty")
        if win.stem in seen:
            raise ValueError(f"{root / 'video.txt'}: lines {seen[win.stem]} and {line} have the same stem {win.stem!r}")
        seen[win.stem] = line
        found = _losers(root / "negative_samples" / win.stem, losers)
        losers = len(found) if losers is None else losers
        first = root / "first_frames" / f"{'_'.join(pathlib.PurePosixPath(relative).with_suffix('').parts)}.png"
        out.append(Pair(win.stem, prompt, win, found, first if first.is_file() else None))
    return out


def _losers(folder: pathlib.Path, count: int | None) -> tuple[pathlib.Path, ...]:
    if count == 0:
        return ()
    there = folder.glob("*.mp4") if folder.is_dir() else ()
    files = sorted((file for file in there if not given.hidden(file)), key=_number)
    wanted = len(files) if count is None else count
    missing = [k for k in range(max(wanted, 1)) if k >= len(files) or files[k].stem != str(k)]
    if missing:
        raise FileNotFoundError(f"{folder / f'{missing[0]}.mp4'}: missing, expected losers 0 to {max(wanted, 1) - 1}")
    return tuple(files[:wanted])


def _number(path: pathlib.Path) -> int:
    if not (path.stem.isascii() and path.stem.isdigit()):
        raise ValueError(f"{path}: expected a number as the name")
    return int(path.stem)


def _lines(path: pathlib.Path) -> list[str]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing")
    return given.lines(path)


def _inside(root: pathlib.Path, relative: str, where: str) -> pathlib.Path:
    parts = pathlib.PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\\" in relative or "\0" in relative:
        raise ValueError(f"{where}: {relative!r} is not a path inside the folder")
    return root.joinpath(*parts)

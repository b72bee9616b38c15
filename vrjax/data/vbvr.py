"""The folder layout of VBVR (questions, benchmark, model outputs): read into clips, written from clips.

A sample is a folder with `first_frame.png` and `prompt.txt`, and optionally `final_frame.png`, `ground_truth.mp4` and
`metadata.json` (or `question_metadata.json`). It lies at one of these places; `read` takes a root at any height:

    {name}_task/{name}_{00000000}/                                              a generator's own output
    {G|O}-{n}_{name}_data-generator/{name}_task/{name}_{00000000}/              the DataFactory tree
    {G|O}-{n}_{name}_data-generator/{00000000}/                                 the same, without the `_task` level
    {In-Domain_50|Out-of-Domain_50}/{task}_data-generator/{00000}/              the benchmark

Everything in such a tree is data of others: nothing in it names a path that is opened or written.
"""

import datetime
import hashlib
import importlib.metadata
import itertools
import json
import operator
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from vrjax.data import mp4
from vrjax.files import given, pixels, writing
from vrjax.tasks import Clip

SPLITS = ("In-Domain_50", "Out-of-Domain_50")
FPS = 16
_FILES = {
    "first_frame.png",
    "prompt.txt",
    "final_frame.png",
    "ground_truth.mp4",
    "metadata.json",
    "question_metadata.json",
}
_MAX_TEXT = 1 << 20  # bytes of a prompt or metadata file: more is not a prompt
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


# ------------------------------------------------------------------------------------------------------------- reading


def read(
    root: str | os.PathLike,
    *,
    max_frames: int | None = None,
    size: int | tuple[int, int] | None = None,
    pad: bool = False,
) -> Iterator[Clip]:
    """The samples below a folder, in the order of their paths, one at a time as they are asked for.

    Args:
        root: a sample, or a folder at any height above samples. Hidden folders and files beside the samples (archives,
            `VBVR-Bench.json`) are no samples; symbolic links are followed.
        max_frames: keep at most so many frames, spread evenly, first and last among them.
        size: resize to (h, w), or to a square; block mean where it divides the sides, else bicubic.
        pad: repeat the last frame until there are 4k + 1 frames (what Wan's VAE takes); `trim` undoes it.

    Yields:
        Clips. `video` is float32 (t, h, w, 3) in [-1, 1]; without a `ground_truth.mp4` it is the first frame alone.
        `answer` and the world's entries of `meta` are there for clips that `write` made from a procedural world, so
            that
        `tasks.get(clip.meta["world"])` can score them; otherwise `answer` is "". `meta["vbvr"]` holds `folder`, `task`
        (the name of the `_data-generator` folder, as the benchmark and `write_prediction` use it; without one, `{name}`
        of `{name}_task`), `split` (or None), `index`, `frames` (in the file; 0 without one), `length` (frames before
        padding), `fps`, `size` (h, w in the files), `final_frame` (path or None) and `metadata` (the file's content).

    Raises:
        FileNotFoundError: no such root, no sample below it, a required file is missing, or a folder at the end of a
            path holds no sample. NotADirectoryError: the root is a file. ValueError: a file that is empty, torn or of
            another kind, or sizes that disagree. Nothing is skipped. What concerns the root or an argument is raised at
            once, the rest when its turn comes.
    """
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames={max_frames}: expected a positive number or None")
    target = None if size is None else (size, size) if isinstance(size, int) else tuple(size)
    if target is not None and (len(target) != 2 or min(target) < 1):
        raise ValueError(f"size={size!r}: expected a positive side or (h, w)")
    folders = samples(root)
    first = next(folders)  # so that a wrong root fails here
    return (_load(folder, max_frames, target, pad) for folder in itertools.chain((first,), folders))


def samples(root: str | os.PathLike) -> Iterator[pathlib.Path]:
    """The sample folders below `root` in the order of their paths, without opening a file. Raises as `read` does."""
    root = pathlib.Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder, expected a tree of VBVR samples")
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: is a file, expected a folder of VBVR samples")
    yield from _walk(root, ())


def trim(video: Any, clip: Clip) -> Any:
    """The frames of a video (of a model that was given `clip`) that are no padding."""
    return video[: clip.meta["vbvr"]["length"]]


def _walk(folder: pathlib.Path, above: tuple[str, ...]) -> Iterator[pathlib.Path]:
    here = os.path.realpath(folder)
    if here in above:
        raise ValueError(f"{folder}: a symbolic link leads back to a folder above it")
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    below = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if names & {"first_frame.png", "prompt.txt"} or (names & _FILES and not below):
        yield folder
        return
    if not below:
        raise FileNotFoundError(
            f"{folder}: holds no sample, expected first_frame.png and prompt.txt (or sample folders)"
        )
    for entry in below:
        yield from _walk(folder / entry.name, (*above, here))


def _load(folder: pathlib.Path, max_frames: int | None, size: tuple[int, int] | None, pad: bool) -> Clip:
    for name in ("first_frame.png", "prompt.txt"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name}: missing, every sample needs it")
    prompt = given.text(folder / "prompt.txt", limit=_MAX_TEXT).strip()
    if not prompt:
        raise ValueError(f"{folder / 'prompt.txt'}: the prompt is empty")
    metadata = _metadata(folder)
    first = pixels.read_image(folder / "first_frame.png", formats=("PNG",))
    final = folder / "final_frame.png"
    final = final if final.is_file() else None
    if final is not None:
        _check_size(pixels.read_image(final, formats=("PNG",)), first, final, size)
    frames, fps, video = 0, 0.0, first[None]
    if (folder / "ground_truth.mp4").is_file():
        path = folder / "ground_truth.mp4"
        resize = None if size is None else lambda frame: _resize(frame, size)
        video, frames, fps = mp4.decode(path, max_frames=max_frames, resize=resize)
        if size is None:
            _check_size(video[0], first, path, size)
    full = first.shape[:2]
    if size is not None:
        first = _resize(first, size)
        video = video if frames else first[None]
    length = len(video)
    if pad:
        video = np.concatenate([video, np.repeat(video[-1:], -(length - 1) % 4, axis=0)])
    meta, answer = _world(metadata)
    meta["vbvr"] = {
        **_place(folder),
        "frames": frames,
        "length": length,
        "fps": fps,
        "size": list(full),
        "final_frame": None if final is None else str(final),
        "metadata": metadata,
    }
    return Clip(pixels.to_float(video), pixels.to_float(first), prompt, answer, meta)


def _place(folder: pathlib.Path) -> dict[str, Any]:
    """What a sample's path says about it."""
    *above, name = folder.absolute().parts
    task = next((part for part in reversed(above) if part.endswith("_data-generator")), None)
    if task is None:
        task = next((part.removesuffix("_task") for part in reversed(above[-1:]) if part.endswith("_task")), None)
    digits = re.search(r"\d+$", name)
    split = next((part for part in reversed(above) if part in SPLITS), None)
    return {"folder": str(folder), "task": task, "split": split, "index": int(digits[0]) if digits else None}


def _world(metadata: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """`Clip.meta` and `Clip.answer` of a clip that `write` made from a procedural world; empty for any other."""
    parameters, generation = metadata.get("parameters"), metadata.get("generation")
    if metadata.get("generator") != "vrjax" or not isinstance(parameters, dict) or not isinstance(generation, dict):
        return {}, ""
    meta = parameters.get("meta")
    meta = dict(meta) if isinstance(meta, dict) else {}
    if "seed" in generation and generation["seed"] is not None:
        meta["seed"] = generation["seed"]
    return meta, str(parameters.get("answer", ""))


def _metadata(folder: pathlib.Path) -> dict[str, Any]:
    path = next((folder / n for n in ("metadata.json", "question_metadata.json") if (folder / n).is_file()), None)
    if path is None:
        return {}
    try:
        found = json.loads(given.text(path, limit=_MAX_TEXT))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, expected an object")
    return found


def _check_size(frame: np.ndarray, first: np.ndarray, path: pathlib.Path, size: tuple[int, int] | None) -> None:
    if size is None and frame.shape != first.shape:
        raise ValueError(f"{path}: {frame.shape[:2]} pixels (h, w), expected {first.shape[:2]} as first_frame.png has")


def _resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    h, w = frame.shape[:2]
    if (h, w) == size:
        return frame
    mean = h % size[0] == 0 and w % size[1] == 0
    how = Image.Resampling.BOX if mean else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), how))


# ------------------------------------------------------------------------------------------------------------- writing


def write(
    clip: Clip,
    folder: str | os.PathLike,
    *,
    upscale: int | None = None,
    fps: int = FPS,
    codec: str = "mpeg4",
    timestamp: str | None = None,
) -> pathlib.Path:
    """Write a clip as one sample: `first_frame.png, final_frame.png, prompt.txt, ground_truth.mp4, metadata.json`.

    Args:
        clip: with a video of pixels in [-1, 1].
        folder: the sample's folder, see `sample_folder` and `bench_folder`. It must not exist; it appears complete or
            not at all.
        upscale: how many times each pixel is repeated. None: the smallest power of two that brings the shorter side to
            256 pixels. Smaller films do not survive the codec (a 40 pixel maze loses up to 0.4 of [-1, 1] at its own
            size, 0.05 at 320), nor can VBVR's evaluators read them; powers of two keep the cells on the codec's 8 x 8
            grid.
        fps: frames per second; VBVR has 16.
        codec: "mpeg4" (mp4v, as VBVR has it), "libx264" (plays in browsers) or "libx264rgb" (without loss).
        timestamp: for metadata.json; None: now, in UTC.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists. ValueError: an empty prompt, a video that is not finite, not in [-1, 1] or
            not (t, h, w, 3), a first frame of another size, or `meta` that JSON cannot hold.
    """
    folder = pathlib.Path(folder)
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder}: exists already; a sample is written to a new folder")
    prompt = clip.prompt.strip()
    if not prompt:
        raise ValueError(f"{folder}: the clip's prompt is empty")
    video, first = np.asarray(clip.video), np.asarray(clip.first_frame)
    if video.ndim != 4 or video.shape[-1] != 3 or 0 in video.shape or first.shape != video.shape[1:]:
        raise ValueError(
            f"{folder}: video {video.shape} and first frame {first.shape}, expected (t, h, w, 3) and (h, w, 3)"
        )
    for name, array in (("video", video), ("first frame", first)):
        reach = np.abs(array.astype(np.float32)).max()
        if not reach <= 1 + 1e-3:
            raise ValueError(f"{folder}: {name} reaches {reach}, expected pixels in [-1, 1]")
    factor = _factor(upscale, video.shape[1:3])
    video, first = (mp4.enlarge(pixels.to_uint8(a, f"{folder}: clip"), factor) for a in (video, first))
    try:
        metadata = json.dumps(_describe(clip, folder.name, factor, timestamp), indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: clip.meta is not JSON-able ({error})") from error
    with writing.folder(folder) as scratch:
        Image.fromarray(first).save(scratch / "first_frame.png")
        Image.fromarray(video[-1]).save(scratch / "final_frame.png")
        (scratch / "prompt.txt").write_bytes(prompt.encode("utf-8"))
        mp4.encode(scratch / "ground_truth.mp4", video, fps=fps, codec=codec)
        (scratch / "metadata.json").write_text(metadata, encoding="utf-8")
    return folder


def write_prediction(
    root: str | os.PathLike,
    split: str,
    task: str,
    index: int,
    video: Any,
    *,
    upscale: int | None = None,
    size: tuple[int, int] | None = None,
    fps: int = FPS,
    codec: str = mp4.LOSSLESS,
) -> pathlib.Path:
    """Write a model's video where VBVR's evaluation looks for it: `{root}/{split}/{task}/{index:05d}.mp4`.

    Args:
        root: folder of one model.
        split: one of `SPLITS`.
        task: as the benchmark names the folder, with `_data-generator`: `clip.meta["vbvr"]["task"]`.
        index: number of the sample: `clip.meta["vbvr"]["index"]`.
        video: (t, h, w, 3), pixels in [-1, 1], already trimmed; values outside are clipped. Replaces an
            older file, atomically.
        upscale, fps: as in `write`.
        size: (h, w) of the true video, which the kit's rules measure in; instead of `upscale`.
        codec: without loss by default, see `mp4`: half the colour of a thin line is lost by the others.

    Raises:
        ValueError: size and upscale together, an unknown split, a task that is not a plain name, an index outside
            0 ... 99999, integer or non-finite pixels.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected one of {list(SPLITS)}")
    path = pathlib.Path(root) / split / _plain(task) / f"{_index(index, 5)}.mp4"
    if size is not None and upscale is not None:
        raise ValueError(f"size={size}, upscale={upscale}: give one of them")
    film = pixels.to_uint8(video, f"{path}: video")
    if size is None:
        film = mp4.enlarge(film, _factor(upscale, film.shape[1:3]))
    else:
        film = np.stack([_resize(frame, (size[0], size[1])) for frame in film])
    with writing.atomic(path) as scratch:
        mp4.encode(scratch, film, fps=fps, codec=codec)
    return path


def sample_folder(root: str | os.PathLike, name: str, index: int, *, generator: str | None = None) -> pathlib.Path:
    """`{root}[/{generator}_data-generator]/{name}_task/{name}_{index:08d}`: where a generator puts a sample."""
    root = pathlib.Path(root) if generator is None else pathlib.Path(root) / f"{_plain(generator)}_data-generator"
    return root / f"{_plain(name)}_task" / f"{name}_{_index(index, 8)}"


def bench_folder(root: str | os.PathLike, split: str, task: str, index: int) -> pathlib.Path:
    """`{root}/{split}/{task}_data-generator/{index:05d}`: where the benchmark has a sample."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected one of {list(SPLITS)}")
    return pathlib.Path(root) / split / f"{_plain(task)}_data-generator" / _index(index, 5)


def _describe(clip: Clip, task_id: str, factor: int, timestamp: str | None) -> dict[str, Any]:
    """metadata.json. The hash is of the parameters, which do not hold the seed: equal questions have equal hashes."""
    meta = {k: v for k, v in clip.meta.items() if k not in ("vbvr", "seed")}
    parameters = {"meta": meta, "answer": str(clip.answer), "upscale": factor}
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]
    return {
        "task_id": task_id,
        "generator": "vrjax",
        "timestamp": timestamp or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parameters": parameters,
        "param_hash": digest,
        "generation": {"seed": clip.meta.get("seed"), "git": None, "version": importlib.metadata.version("vrjax")},
    }


def _factor(upscale: int | None, sides: tuple[int, ...]) -> int:
    if upscale is not None:
        if upscale < 1:
            raise ValueError(f"upscale={upscale}: expected a positive integer or None")
        return upscale
    factor = 1
    while 0 < min(sides, default=0) * factor < 256:
        factor *= 2
    return factor


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"name {name!r}: expected letters, digits, '.', '_' and '-' only, not starting with '.'")
    return name


def _index(index: int, digits: int) -> str:
    index = operator.index(index)
    if not 0 <= index < 10**digits:
        raise ValueError(f"index={index}: expected 0 to {10**digits - 1}")
    return f"{index:0{digits}d}"

"""The lists that come with ViMoGen's data: ViMoGen-228K's clips, MBench's prompts, and what MBench evaluates.

clips = annotations.read_vimogen("ViMoGen-228K.json")     # also optical_mocap_data.json and its other parts
prompts = annotations.read_mbench("MBench_final.json")
rows = annotations.read_mbench_eval("MBench_eval_info.json")    # what is evaluated, and by which metric
path = annotations.below("data", clips[0].motion_path)    # never outside of the folder
"""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from vrjax.files import given

_MOST = 1 << 31  # bytes of a list: 228,236 clips with two captions each are some hundred millions
_EMBEDDING = "_wanvideot5_embed_path"
Entry = TypeVar("Entry")


class Clip228K(NamedTuple):
    """A clip of ViMoGen-228K.

    Attributes:
        id, subset, split: as the list has them.
        motion_text, video_text: captions in the style of motion data and of videos; None where the list has none.
        motion_path: of the motion file; see `files.read`.
        video_path: of the video, or None.
        embeddings: the caption's key in the list (`motion_text_annot` ...) -> path of its rows.
    """

    id: str
    subset: str
    split: str
    motion_text: str | None
    video_text: str | None
    motion_path: str
    video_path: str | None
    embeddings: dict[str, str]


class Prompt(NamedTuple):
    """A prompt of MBench.

    Attributes:
        id: number of the motion, 0 .. 449, which says which metrics it is for; global_id: as the list has it.
        dimension: the name of what it is for.
        seconds: the duration asked for. (The public loader ignores it: 100 frames for text alone.)
        main_action, prompt: short; motion_text, video_text: detailed, in the two styles of captions.
        motion_path: of the reference motion, or None; use_reference: whether the public gate let it through.
        distractors: answers beside the right one, of MBench's questions with ten choices.
        embeddings: the prompt's key in the list -> path of its rows.
    """

    id: int
    global_id: str
    dimension: str
    seconds: float
    main_action: str
    prompt: str
    motion_text: str
    video_text: str
    motion_path: str | None
    use_reference: bool
    distractors: tuple[str, ...]
    embeddings: dict[str, str]


class Evaluated(NamedTuple):
    """A row of MBench's evaluation list: one motion under one metric.

    Attributes:
        dimension: the metric.
        id, prompt, category: of the motion.
        motion_duration: in **frames** at 20 a second (`Prompt.seconds` is in seconds).
        auxiliary_info: wrong answers, of the questions with ten choices; else empty.
    """

    dimension: str
    id: int
    prompt: str
    category: str
    motion_duration: int
    auxiliary_info: tuple[str, ...] = ()


def read_vimogen(path: str | os.PathLike) -> list[Clip228K]:
    """The clips of ViMoGen-228K or of one of its parts, in the list's order.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not such a list; names the file, the entry and what was expected.
    """
    return _read(path, _clip)


def read_mbench(path: str | os.PathLike) -> list[Prompt]:
    """MBench's 450 prompts, in the list's order.

    Raises:
        FileNotFoundError, ValueError: as `read_vimogen` does; two prompts of one id.
    """
    prompts = _read(path, _prompt)
    seen: dict[int, int] = {}
    for i, prompt in enumerate(prompts):
        if seen.setdefault(prompt.id, i) != i:
            raise ValueError(f"{path}: entries {seen[prompt.id]} and {i} have one id, {prompt.id}")
    return prompts


def read_mbench_eval(path: str | os.PathLike) -> list[Evaluated]:
    """MBench's 1150 rows of motion and metric, in the list's order.

    Raises:
        FileNotFoundError, ValueError: as `read_vimogen` does.
    """
    return _read(path, _evaluated)


def below(folder: str | os.PathLike, path: str) -> pathlib.Path:
    """A path of a list inside the folder that the data lie in.

    Raises:
        ValueError: it is absolute, or leads out of the folder.
    """
    if given.outside(path) or not path.strip():
        raise ValueError(f"{folder}: {path!r:.199} is a path out of this folder, expected one inside it")
    return pathlib.Path(folder) / path


class _Fields:
    """The fields of an entry, each asked for with its type."""

    def __init__(self, entry: dict[str, Any]):
        self.entry = entry

    def __call__(self, name: str, *kinds: type) -> Any:
        """The value; ValueError where there is none, or one of another type."""
        if name not in self.entry:
            raise ValueError(f"has no {name!r}")
        value = self.entry[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ValueError(f"{name} is {value!r:.60}, expected {expected}")
        return value

    def maybe(self, name: str, *kinds: type) -> Any:
        """The value, or None where the entry has none."""
        return self(name, *kinds, type(None)) if name in self.entry else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, or none."""
        found = self.maybe(name, list) or []
        if not all(isinstance(text, str) for text in found):
            raise ValueError(f"{name} is {found!r:.60}, expected texts")
        return tuple(found)

    def embeddings(self) -> dict[str, str]:
        names = [name for name in self.entry if name.endswith(_EMBEDDING)]
        return {name.removesuffix(_EMBEDDING): self(name, str) for name in names if self.entry[name] is not None}


def _clip(field: _Fields) -> Clip228K:
    return Clip228K(
        id=str(field("id", str, int)),
        subset=field("subset", str),
        split=field("split", str),
        motion_text=field.maybe("motion_text_annot", str),
        video_text=field.maybe("video_text_annot", str),
        motion_path=field("motion_path", str),
        video_path=field.maybe("video_path", str),
        embeddings=field.embeddings(),
    )


def _prompt(field: _Fields) -> Prompt:
    seconds = field("motion_duration", int, float)
    if not 0 < seconds < 3600:
        raise ValueError(f"motion_duration is {seconds}, expected seconds")
    return Prompt(
        id=int(field("id", int)),
        global_id=str(field("global_id", str, int)),
        dimension=field("dimension", str),
        seconds=float(seconds),
        main_action=field("main_action", str),
        prompt=field("prompt", str),
        motion_text=field("prompt_motion_detailed", str),
        video_text=field("prompt_video_detailed", str),
        motion_path=field.maybe("motion_path", str),
        use_reference=field("use_ref_motion", bool),
        distractors=field.texts("auxiliary_info"),
        embeddings=field.embeddings(),
    )


def _evaluated(field: _Fields) -> Evaluated:
    frames = field("motion_duration", int, float)
    if frames != int(frames) or not 0 < frames < 100_000:
        raise ValueError(f"motion_duration is {frames}, expected a whole number of frames")
    return Evaluated(
        dimension=field("dimension", str),
        id=field("id", int),
        prompt=field("prompt", str),
        category=field("category", str),
        motion_duration=int(frames),
        auxiliary_info=field.texts("auxiliary_info"),
    )


def _read(path: str | os.PathLike, make: Callable[[_Fields], Entry]) -> list[Entry]:
    """The entries of a JSON list, each made by `make`."""
    text = given.text(path, limit=_MOST)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error!s:.80})") from None
    if not isinstance(entries, list) or not entries:
        found = "nothing" if entries == [] else type(entries).__name__
        raise ValueError(f"{path}: holds {found}, expected a list of entries")
    out = []
    for i, entry in enumerate(entries):
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"is {type(entry).__name__}, expected an object")
            out.append(make(_Fields(entry)))
        except ValueError as error:
            raise ValueError(f"{path}: entry {i} {error}") from None
    return out

"""From the records of `parts` to what the page's script reads: sprite sheets, quantised maps, inert JSON."""

import base64
import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vrjax.report import parts, skeletons
from vrjax.report.record import Claim

SHORT = 32_767
LEVELS = 254  # map values take bytes 0..254; 255 means "no value"
LONGEST_SIDE = 16_384  # pixels: the largest canvas side that all browsers draw
INKS = 64  # colours of a still of bodies, which are lines of five: under a third of the bytes


def block_size(images: np.ndarray) -> int:
    """Largest k such that every (..., h, w, 3) image is made of k x k squares of one colour (1 if there is none)."""
    height, width = images.shape[-3:-1]
    common = math.gcd(height, width)
    for k in sorted((d for d in range(2, common + 1) if common % d == 0), reverse=True):
        small = images[..., ::k, ::k, :]
        if all(
            np.array_equal(images[..., i::k, j::k, :], small) for i in range(k) for j in range(k) if (i, j) != (0, 0)
        ):
            return k
    return 1


def sprite(images: np.ndarray, colours: int | None = None) -> str:
    """(row, column, h, w, 3) uint8 -> data URI of one PNG, images side by side without gaps; lossless, or reduced to so
    many colours."""
    rows, columns, height, width, _ = images.shape
    if max(rows * height, columns * width) > LONGEST_SIDE:
        raise ValueError(
            f"a sheet of {rows} x {columns} images of {width} x {height} px is more than {LONGEST_SIDE} px long; "
            "keep fewer steps (Record(steps=...)) or make the videos smaller"
        )
    sheet = images.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    buffer, image = io.BytesIO(), Image.fromarray(sheet)
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def quantise(values: np.ndarray, relative: str = "all") -> dict[str, Any]:
    """Values -> {"shape", "data": base64 bytes, "low", "high", "relative"}, axes and `relative` as in `LayerMap`."""
    axes = {"all": None, "row": tuple(a for a in range(values.ndim) if a != 2), "step": tuple(range(2, values.ndim))}
    if relative not in axes:
        raise ValueError(f"relative must be one of {sorted(axes)}, found {relative!r}")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if relative == "all":
        bottom, top = np.float64(low), np.float64(high)
    else:
        filled = np.isnan(values)
        bottom = np.where(filled, np.inf, values).min(axis=axes[relative], keepdims=True)
        top = np.where(filled, -np.inf, values).max(axis=axes[relative], keepdims=True)
    span = np.where(top > bottom, top - bottom, 1.0)
    with np.errstate(invalid="ignore"):
        unit = np.clip((values - bottom) / span, 0.0, 1.0)
    data = np.where(np.isnan(values), LEVELS + 1, np.round(np.nan_to_num(unit) * LEVELS)).astype(np.uint8)
    return {
        "shape": list(values.shape),
        "data": _base64(data),
        "low": low,
        "high": high,
        "relative": relative,
    }


def numbers(array: np.ndarray) -> Any:
    """Nested lists of six significant digits, with None for what is not finite."""
    if array.ndim > 1:
        return [numbers(row) for row in array]
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in array.tolist()]


def plain(part: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a record as the page's script reads them: names in camel case, arrays as lists, records within it
    alike; those of `without` are left out."""

    def value(of: Any) -> Any:
        if isinstance(of, np.ndarray):
            return numbers(of)
        if isinstance(of, tuple | list):
            return [value(item) for item in of]
        if isinstance(of, np.generic):
            return of.item()
        return plain(of) if dataclasses.is_dataclass(of) else of

    camel = lambda name: "".join(word.title() if i else word for i, word in enumerate(name.split("_")))
    given = {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.name not in without}
    return {camel(name): value(of) for name, of in given.items()}


def _labels(given: Sequence[Any] | None, count: int) -> list[str]:
    return [str(v) for v in (range(count) if given is None else given)]


def heat_map(part: parts.HeatMap) -> dict[str, Any]:
    """A still map: cells, labels and the range of its colours."""
    values = np.asarray(part.values)
    low, high = map(float, part.value_range or (np.nanmin(values), np.nanmax(values)))
    if part.center is not None:
        middle = float(part.center)
        reach = max(abs(low - middle), abs(high - middle))
        low, high = middle - reach, middle + reach
    return plain(part, ("rows", "columns", "value_range", "center")) | {
        "rows": _labels(part.rows, values.shape[0]),
        "columns": _labels(part.columns, values.shape[1]),
        "low": low,
        "high": high,
        "diverging": part.center is not None,
    }


def layer_map(part: parts.LayerMap) -> dict[str, Any]:
    """A layer map, quantised to bytes; its scale and range beside it."""
    values = np.asarray(part.values)
    return plain(part, ("values", "rows", "columns")) | {
        "rows": _labels(part.rows, values.shape[2]),
        "columns": _labels(part.columns, values.shape[3]),
        **quantise(values, part.relative),
    }


def case(part: parts.Case | parts.Body) -> dict[str, Any]:
    """One case of the scrubber: its videos as sheets or its joints as numbers, its maps, curves and events."""
    if isinstance(part, parts.Body):
        return _body(part)
    x0, truth, noisy = np.asarray(part.x0), part.truth, part.noisy
    # A pixel world stores one pixel a block: same picture, sixteen times less to send. One factor for all three,
    # because the page compares them pixel by pixel.
    present = [np.asarray(v) for v in (x0, truth, noisy) if v is not None]
    k = math.gcd(*(block_size(v) for v in present))
    x0, truth, noisy = (None if v is None else np.asarray(v)[..., ::k, ::k, :] for v in (x0, truth, noisy))
    assert x0 is not None
    return plain(part, ("x0", "noisy", "truth", "maps")) | {
        "frames": x0.shape[2],
        "height": x0.shape[3],
        "width": x0.shape[4],
        "x0": [sprite(seed) for seed in x0],
        "noisy": None if noisy is None else [sprite(seed) for seed in noisy],
        "truth": None if truth is None else sprite(truth[None]),
        "maps": [layer_map(m) for m in part.maps],
    }


def _body(part: parts.Body) -> dict[str, Any]:
    """Joints as little-endian int16: place = middle + unit * number, for each of x, y, z."""
    joints = np.asarray(part.joints)
    held = [joints, *([] if part.truth is None else [np.asarray(part.truth)])]
    low = np.min([one.reshape(-1, 3).min(0) for one in held], 0).astype(np.float64)
    high = np.max([one.reshape(-1, 3).max(0) for one in held], 0).astype(np.float64)
    middle, unit = (low + high) / 2, float((high - low).max()) / (2 * SHORT) or 1.0
    packed = lambda of: _base64(np.round((np.asarray(of, np.float64) - middle) / unit).astype("<i2"))
    last = np.concatenate([joints[:, -1].reshape(-1, 22, 3), *(one for one in held[1:])])
    view = skeletons.whole(last, float(part.floor or 0.0))
    return plain(part, ("joints", "truth", "contacts", "up_axis", "maps")) | {
        "frames": joints.shape[2],
        "width": 1,
        "height": 1,
        "joints": packed(joints),
        "truth": None if part.truth is None else packed(part.truth),
        "middle": middle.tolist(),
        "unit": unit,
        "feet": _base64(skeletons.feet(joints, np.asarray(part.contacts), float(part.fps))),
        "bones": [list(bone) for bone in skeletons.bones()],
        "view": {**view._asdict(), "centre": view.centre.tolist()},
        "maps": [layer_map(m) for m in part.maps],
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def contact(part: parts.Case | parts.Body, compare: bool) -> dict[str, Any]:
    """What a reader without scripts sees of a case: a still sheet of the first seed, a row a step and a column a frame,
    or, of arms and of motions without steps, a row each at the last step."""
    body = isinstance(part, parts.Body)
    whole = np.asarray(part.joints if body else part.x0)
    steps = np.unique(np.linspace(0, whole.shape[1] - 1, min(8, whole.shape[1])).round().astype(int))
    frames = np.unique(np.linspace(0, whole.shape[2] - 1, min(9, whole.shape[2])).round().astype(int))
    arms = compare or (body and whole.shape[1] == 1)
    shown = (whole[:, -1] if arms else whole[0][steps])[:, frames]
    if body:
        shown = skeletons.pictures(shown, float(part.floor or 0.0))
    else:
        k = block_size(whole)
        shown = shown[..., ::k, ::k, :]
    gap = max(1, shown.shape[-3] // 16)
    shown = np.pad(shown, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    seeds, kept, outcomes = list(part.seeds or ()), list(part.steps or ()), part.outcomes
    if arms:
        rows = [f"{name}: {outcomes[i]}" if outcomes else name for i, name in enumerate(seeds)]
    else:
        told = list(part.guesses[0]) if part.guesses else [None] * whole.shape[1]
        name = lambda guess: part.other if guess.kind == "other" else guess.kind
        say = lambda g: "" if g is None else f": {name(g)}" + (f", {g.words}" if g.words else "")
        rows = [f"step {kept[i]}{say(told[i])}" for i in steps.tolist()]
    what = ("the motions" if body else "the arms") if arms else f"the guesses of {seeds[0]}"
    caption = f"Rows: {what}, from above; columns: frames {', '.join(map(str, frames.tolist()))}."
    about = {"name": part.name, "prompt": part.prompt, "caption": caption, "rows": rows}
    return {
        **about,
        "uri": sprite(shown, INKS if body else None),
        "alt": f"{part.name}: {len(shown)} x {len(frames)} pictures. {caption}",
    }


def page(part: parts.Page) -> dict[str, Any]:
    """All of the page that its script draws; text goes through the template instead."""
    return {
        "scrubbers": [{"bodies": s.bodies, "cases": [case(c) for c in s.cases]} for s in part.scrubbers],
        "curves": [plain(c) for c in part.curves],
        "maps": [heat_map(m) for m in part.maps],
        "forests": [plain(f) for f in part.forests],
    }


def inert_json(value: Any) -> str:
    """JSON that is safe between script tags: no `<`, `>`, `&`, U+2028 or U+2029 stands in it unescaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def picture(part: parts.Picture) -> dict[str, str]:
    """The image as a data URI; its type is read from its first bytes, never from its name."""
    data = part.image if isinstance(part.image, bytes) else pathlib.Path(part.image).read_bytes()
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
    kind = next((kind for head, kind in kinds.items() if data.startswith(head)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        raise ValueError(f"picture {part.title!r}: not a PNG, JPEG, GIF or WebP file (starts with {data[:8]!r})")
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return {"title": part.title, "uri": uri, "alt": part.alt, "caption": part.caption}


def claims(given: Sequence[Claim | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the page shows of claims, with the places of their marks in small interval plots.

    Plots of one unit share one scale, so that they can be compared (where none is named, none is shared). A claim whose
    marks reach over more than five times what is usual in its unit has its own, or the others would be dots.
    """
    records = [one if isinstance(one, Claim) else Claim(**one) for one in given]
    marks = [_marks(record) for record in records]
    reach = [max(one.values()) - min(one.values()) for one in marks]
    out = []
    for record, own, wide in zip(records, marks, reach, strict=True):
        same = [i for i, other in enumerate(records) if other.unit == record.unit != ""] or [len(out)]
        usual = float(np.median([reach[i] for i in same])) or math.inf
        shared = [i for i in same if reach[i] <= 5 * usual] if wide <= 5 * usual else []
        values = [v for i in shared for v in marks[i].values()] or list(own.values())
        out.append(
            {
                "record": record,
                "apart": len(same) > 1 and len(shared) < 2,
                **_interval_plot(own, min(values), max(values)),
            }
        )
    return out


def _marks(record: Claim) -> dict[str, float]:
    low, high = record.interval or (record.estimate, record.estimate)
    null = dict(zip(("null_low", "null_high"), record.null_interval or (), strict=False))
    return {"estimate": record.estimate, "low": low, "high": high, "null": record.null, **null}


def is_number(value: Any) -> bool:
    """Whether a table cell is set as a number (booleans are not)."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _interval_plot(values: Mapping[str, float], bottom: float, top: float) -> dict[str, Any]:
    """Places in 0..100 of a claim's marks, and of zero if it is near, on a scale from bottom to top; and its ends."""
    if 0 < bottom < 1.5 * (top - bottom):
        bottom = 0.0  # show zero when it is close enough to mean something
    if 0 < -top < 1.5 * (top - bottom):
        top = 0.0
    span = (top - bottom) or abs(top) or 1.0
    place = lambda value: round(6 + 88 * (value - bottom) / span, 2)
    names = ("estimate", "low", "high", "null", "null_low", "null_high")
    marks = {name: place(values[name]) if name in values else None for name in names}
    zero = place(0.0) if bottom <= 0 <= top else None
    ends = {"low": values["low"], "high": values["high"], "from": bottom, "to": top}
    return {"plot": {**marks, "zero": zero}, **ends}

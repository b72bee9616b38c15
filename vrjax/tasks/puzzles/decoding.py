"""Drawn answers, read exactly: what was marked in a picture, whether that is right, and whether the rest stayed.

    found = decoding.decode(item, picture)          # Drawn(marked, right, stray, preservation)
    decoding.judge(item, picture)                   # for `generated.evaluate`

A mark is what lies over the original in a marker's colour: a pixel counts by how far it went from what it was towards
that colour, so thin and blurred lines count as well. What is marked is then read by the kind of annotation: options and
cells that are enclosed, places with a dot, edges of a graph that are traced, glyphs in slots. Marks that belong to
nothing make an answer wrong; what is repainted without a mark is told by `preservation` and makes none.
"""

import functools
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from vrjax.tasks.puzzles.canvas import MARKERS, Canvas
from vrjax.tasks.puzzles.item import DIGITS, Annotation, Circle, Glyphs, Item, Marks, Route

COLOURS = {**MARKERS, "bright red": (255, 0, 0), "bright green": (0, 200, 0), "bright blue": (0, 60, 255)}
"""What is taken for a marker."""
TOWARDS, RESIDUE, HUE = 0.3, 0.75, 0.12
"""A pixel is marked that went so far towards a marker's colour, of whose change no larger share went elsewhere, and
whose hue went so far towards the marker's."""
ALIKE = 0.85
"""Cosine between the hue that is seen and the marker's, at least: paint over an orange thing does not make it red."""
CHANGED = 40.0
"""How far a marked pixel's colour went at least, in levels of 256."""
CHROMA = np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]], np.float32)
"""From red, green and blue to the two chroma channels of JPEG (ITU-T T.871)."""
SPECK = 0.0012
"""Share of the picture below which a mark is noise."""
STRAY = 0.12
"""Share of the marks that may belong to nothing."""
CLOSE = 0.03
"""In units of the picture: gaps of a circle that are closed, and how far a line may be from where it should."""


class Drawn(NamedTuple):
    """What was drawn.

    Attributes:
        marked: boxes or places (sorted numbers), edges (sorted pairs of nodes), or texts by slot (None: not legible).
        right: whether it is the answer and nothing else.
        stray: the share of the marks that belongs to nothing.
        preservation: PSNR in dB of what is not marked, at most 60; inf stands for "as it was" there.
    """

    marked: tuple[Any, ...]
    right: bool
    stray: float
    preservation: float


def decode(item: Item, picture: Any) -> Drawn:
    """What was drawn over an item's picture.

    Args:
        item: with an annotation, which says what there is to be marked.
        picture: (h, w, 3) of 8 bits, of any size; it is compared at that of the item's.

    Raises:
        ValueError: an item without an annotation; pixels that are not (h, w, 3) of 8 bits.
    """
    if item.annotation is None:
        raise ValueError(f"item {item.task_id}: says not what there is to be marked; a judge that sees must compare")
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"expected a picture (h, w, 3) of 8 bits, found {picture.shape} of {picture.dtype}")
    if picture.shape != item.image.shape:
        picture = resized(picture, item.image.shape[:2])
    strength = marks(item.image, picture)
    mask = strength > 0
    kept = preservation(item.image, picture, ndimage.binary_dilation(mask, iterations=2))
    if isinstance(item.annotation, Glyphs):
        marked, used = _written(item.annotation, mask, strength)
    else:
        marked, used = READERS[type(item.annotation)](item.annotation, mask)
    stray = float((mask & ~used).sum() / max(mask.sum(), 1))
    right = marked == wanted(item.annotation) and stray <= STRAY
    return Drawn(marked, right, stray, kept)


def judge(item: Item, picture: Any) -> bool:
    """Whether a picture answers an item: see `decode`."""
    return decode(item, picture).right


def wanted(annotation: Annotation) -> tuple[Any, ...]:
    """What `Drawn.marked` is of the right answer."""
    if isinstance(annotation, Route):
        return tuple(sorted(tuple(sorted(pair)) for pair in itertools.pairwise(annotation.path)))
    return annotation.texts if isinstance(annotation, Glyphs) else tuple(sorted(annotation.right))


def resized(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A picture at another size; one that was padded to a square is cut to the shape that it had."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    inner = (round(size[0] * scale), round(size[1] * scale))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    cut = picture[top : top + inner[0], left : left + inner[1]]
    return np.asarray(Image.fromarray(cut).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def marks(original: UInt8[np.ndarray, "h w 3"], picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """How far each pixel went towards a marker's colour, 1 being all the way; 0 where none is marked. Without specks.

    Colour and hue both went towards the marker's: files of JPEG change how bright a pixel is at every edge, and hardly
    its hue; but of a thin line they keep little more of the hue than its sign.
    """
    change = picture.astype(np.float32) - original
    size, hue, seen = np.linalg.norm(change, axis=-1), change @ CHROMA, picture.astype(np.float32) @ CHROMA
    out = np.zeros(original.shape[:2], np.float32)
    for colour in COLOURS.values():
        way = np.array(colour, np.float32) - original
        share = (change * way).sum(-1) / np.maximum((way**2).sum(-1), 1.0)
        aside = np.linalg.norm(change - share[..., None] * way, axis=-1)
        to = way @ CHROMA
        shift = (hue * to).sum(-1) / np.maximum((to**2).sum(-1), 1.0)
        hued = np.array(colour, np.float32) @ CHROMA
        alike = seen @ hued > ALIKE * np.linalg.norm(seen, axis=-1) * np.linalg.norm(hued)
        marked = (share > TOWARDS) & (aside < RESIDUE * size) & (size > CHANGED) & (shift > HUE) & alike
        out = np.maximum(out, np.where(marked, share, 0.0))
    labels, count = _labelled(out)
    sizes = ndimage.sum_labels(out > 0, labels, np.arange(1, count + 1))
    small = 1 + np.flatnonzero(sizes < max(2, SPECK * out.size / 2))
    return np.where(np.isin(labels, small), 0.0, out)


def preservation(original: np.ndarray, picture: np.ndarray, but: np.ndarray) -> float:
    """PSNR in dB of the pixels that are not marked; inf where they are the same, 0 where all is marked."""
    rest = ~but
    if not rest.any():
        return 0.0
    error = float(((original.astype(np.float32) - picture)[rest] ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


# -------------------------------------------------------------------------------------------------- by kinds of marks


def _labelled(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected parts, also across corners, as numbers from 1 on; and how many there are."""
    found: Any = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return found[0], int(found[1])


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    """Connected marks, across small gaps, each as a mask of its own pixels."""
    near = max(1, round(CLOSE / 2 * len(mask)))
    labels, count = _labelled(ndimage.binary_dilation(mask, iterations=near))
    return [mask & (labels == i + 1) for i in range(count)]


def _pixels(box: Any, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The pixels whose centres lie in a box of the unit square."""
    height, width = shape
    x0, y0, x1, y1 = box
    edge = lambda value, side: int(np.clip(round(float(value) * side), 0, side))
    return slice(edge(y0, height), max(edge(y1, height), edge(y0, height) + 1)), slice(
        edge(x0, width), max(edge(x1, width), edge(x0, width) + 1)
    )


ROUND, NEAR, REACH, EDGE = 0.7, 0.5, 1.75, 1.3
"""A box is circled by marks that are seen from its middle in so many of `ANGLES` directions and lie between so many of
its longer half sides; directions do not count in which the picture ends before so many."""
ANGLES = 20


def _circled(annotation: Circle, mask: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Boxes that a mark goes round, gaps and neighbours aside; else the box in which a tick, a cross or a dot lies.

    What lies round a circled box belongs to it, the rest of the same mark to nothing.
    """
    found: set[int] = set()
    used = np.zeros_like(mask)
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width] + 0.5
    corners = np.asarray(annotation.boxes) * [width, height, width, height]
    middle, half = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]) / 2
    across = [(columns - x) / w for (x, _), w in zip(middle, half.max(1), strict=True)]
    down = [(rows - y) / w for (_, y), w in zip(middle, half.max(1), strict=True)]
    turns = 2 * np.pi * (np.arange(ANGLES) + 0.5) / ANGLES - np.pi
    at = middle[:, None] + EDGE * half.max(1)[:, None, None] * np.stack([np.cos(turns), np.sin(turns)], -1)
    inside = ((at > 0) & (at < [width, height])).all(-1)
    # Of all marks together: an arc may lie in pieces, and one mark go round several boxes that touch.
    around = np.array([_round(*one, mask) for one in zip(across, down, inside, strict=True)])
    for i in np.flatnonzero(around >= max(ROUND, 0.8 * around.max(initial=0.0))).tolist():
        found.add(i)
        used |= mask & _ring(across[i], down[i])
    for part in _parts(mask):
        if (part & used).any():
            continue
        within = np.abs([(columns - x)[part] / w for (x, _), (w, _) in zip(middle, half, strict=True)]) <= 1
        within &= np.abs([(rows - y)[part] / h for (_, y), (_, h) in zip(middle, half, strict=True)]) <= 1
        shares = within.mean(1)
        if shares.max() >= 0.6:
            found.add(int(np.argmax(shares)))
            used |= part
    return tuple(sorted(found)), used


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    far = np.hypot(x, y)
    return (far > NEAR) & (far < REACH)


def _round(x: np.ndarray, y: np.ndarray, inside: np.ndarray, part: np.ndarray) -> float:
    """In what share of the directions that stay in the picture a mark lies, seen from a box at (0, 0)."""
    near = part & _ring(x, y)
    if not near.any():
        return 0.0
    at = np.floor((np.arctan2(y[near], x[near]) / (2 * np.pi) + 0.5) * ANGLES).astype(int) % ANGLES
    seen = np.zeros(ANGLES, bool)
    seen[at] = True
    return float((seen & inside).sum() / max(inside.sum(), 1))


def _dotted(annotation: Marks, mask: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Places with a mark on them: each mark belongs to the place nearest to its middle."""
    height, width = mask.shape
    at = annotation.places * [width, height] - 0.5
    gaps = np.linalg.norm(at[:, None] - at, axis=-1) + np.diag(np.full(len(at), np.inf))
    reach = np.minimum(0.5 * gaps.min(1, initial=np.inf), 0.12 * len(mask))
    found, used = set(), np.zeros_like(mask)
    labels, count = _labelled(mask)
    for i in range(1, count + 1):
        part = labels == i
        rows, columns = np.nonzero(part)
        far = np.linalg.norm(at - [columns.mean(), rows.mean()], axis=-1)
        nearest = int(np.argmin(far))
        widest = np.hypot(columns - at[nearest, 0], rows - at[nearest, 1]).max()
        # What also lies on other places is no dot.
        if far[nearest] <= max(reach[nearest], 1.5) and widest <= max(2 * reach[nearest], 3.0):
            found.add(nearest)
            used |= part
    return tuple(sorted(found)), used


def _traced(annotation: Route, mask: np.ndarray) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """Edges along which a line lies, and the marks near them."""
    height, width = mask.shape
    tolerance = max(1.0, 0.4 * CLOSE * len(mask))
    far: Any = ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)
    nodes = annotation.nodes * [width, height] - 0.5
    rows, columns = np.mgrid[:height, :width]
    found, used = [], np.zeros_like(mask)
    for a, b in np.asarray(annotation.edges).tolist():
        begin, way = nodes[a], nodes[b] - nodes[a]
        length = float(np.linalg.norm(way))
        # Its ends may belong to other edges: what counts is what lies between.
        along = begin + way * np.linspace(0.2, 0.8, max(3, round(length)))[:, None]
        at = np.clip(np.rint(along).astype(int), 0, [width - 1, height - 1])
        if (far[at[:, 1], at[:, 0]] <= tolerance).mean() < 0.85:
            continue
        found.append((min(a, b), max(a, b)))
        share = ((columns - begin[0]) * way[0] + (rows - begin[1]) * way[1]) / max(length**2, 1e-9)
        share = np.clip(share, 0, 1)
        off = np.hypot(columns - begin[0] - share * way[0], rows - begin[1] - share * way[1])
        used |= mask & (off <= 2.5 * tolerance)
    # How far from the middle of a traced line its own marks lie at most.
    inside: Any = ndimage.distance_transform_edt(mask)
    wide = float(np.percentile(inside[mask], 95)) if mask.any() else 0.0
    return _lines(found, nodes, 8 * tolerance, tolerance + 2 * wide), used


def _lines(edges: list[tuple[int, int]], nodes: np.ndarray, least: float, wide: float) -> tuple[tuple[int, int], ...]:
    """Edges that hang together over some length, and do not lie under the longest of them all along: of a line that a
    traced one crosses a piece does."""
    groups: list[tuple[set[int], list[tuple[int, int]]]] = []
    for edge in edges:
        touched = [group for group in groups if group[0] & set(edge)]
        groups = [group for group in groups if not group[0] & set(edge)]
        joined = set(edge).union(*(group[0] for group in touched))
        groups.append((joined, [edge, *itertools.chain(*(group[1] for group in touched))]))
    long = lambda group: sum(float(np.linalg.norm(nodes[a] - nodes[b])) for a, b in group[1])
    groups.sort(key=long, reverse=True)
    kept = [group[1] for group in groups[:1]]
    for group in groups[1:]:
        if long(group) >= least and _beside(group[1], kept[0], nodes) > wide:
            kept.append(group[1])
    return tuple(sorted(itertools.chain(*kept)))


def _beside(edges: list[tuple[int, int]], others: list[tuple[int, int]], nodes: np.ndarray) -> float:
    """How far from all other edges a place of edges lies at most, but for their ends."""
    points = np.concatenate([nodes[a] + (nodes[b] - nodes[a]) * np.linspace(0.2, 0.8, 9)[:, None] for a, b in edges])
    far = np.full(len(points), np.inf)
    for a, b in others:
        begin, way = nodes[a], nodes[b] - nodes[a]
        share = np.clip(((points - begin) @ way) / max(float(way @ way), 1e-9), 0, 1)
        far = np.minimum(far, np.linalg.norm(points - begin - share[:, None] * way, axis=-1))
    return float(far.max())


SIDE = 24
HEIGHTS = (0.09, 0.12, 0.16, 0.24)
"""Of letters in pictures of 64 pixels, of which shapes are known; larger ones look like the last."""
WIDTH = 0.2
"""What counts that a text is wider or narrower for its height, against how well its shape correlates."""


def _written(annotation: Glyphs, mask: np.ndarray, strength: np.ndarray) -> tuple[tuple[str | None, ...], np.ndarray]:
    """The text of each slot whose shape is nearest, as a whole: a letter, or of digits up to two."""
    out, used = [], np.zeros_like(mask)
    for box in annotation.slots:
        window = _pixels(box, mask.shape)
        used[window] |= mask[window]
        out.append(_read(strength[window], annotation.alphabet) if mask[window].any() else None)
    return tuple(out), used


def _read(inked: np.ndarray, alphabet: str) -> str:
    seen, wide = _shape(inked)
    known = templates(alphabet)
    best = {
        text: max(_alike(seen, shape) - WIDTH * abs(wide - width) for shape, width in shapes)
        for text, shapes in known.items()
    }
    return max(best, key=lambda text: best[text])


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum())


def _shape(inked: np.ndarray) -> tuple[Float[np.ndarray, "s s"], float]:
    """A text by how far each pixel is inked: what its bounds hold, in a square, of norm 1 about 0; and how wide it is
    for its height, as a logarithm."""
    from PIL import Image

    there = inked > 0.5 * inked.max()
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    piece = inked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    square = np.asarray(Image.fromarray(piece).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    square = square - square.mean()
    return square / max(float(np.linalg.norm(square)), 1e-6), float(np.log(piece.shape[1] / piece.shape[0]))


@functools.cache
def templates(alphabet: str) -> dict[str, list[tuple[np.ndarray, float]]]:
    """Shapes of all texts, in the puzzles' own font at several heights and between pixels, and in Matplotlib's."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), 40) for name in ("DejaVuSans", "DejaVuSans-Bold")]
    texts = [*alphabet, *(a + b for a in alphabet for b in alphabet if a != "0")] if alphabet == DIGITS else [*alphabet]
    shifts = [(x / 128, y / 128) for x in (0, 1) for y in (0, 1)]
    out: dict[str, list[tuple[np.ndarray, float]]] = {}
    for text in texts:
        pictures = []
        for height, (x, y) in itertools.product(HEIGHTS, shifts):
            canvas = Canvas(64)
            canvas.text((0.5 + x, 0.5 + y), text, height, (0, 0, 0))
            pictures.append(canvas.pixels()[..., 0])
        for font in fonts:
            image = Image.new("L", (120, 80), 255)
            ImageDraw.Draw(image).text((60, 40), text, fill=0, font=font, anchor="mm")
            pictures.append(np.asarray(image))
        out[text] = [_shape(1 - picture / np.float32(255)) for picture in pictures]
    return out


READERS: dict[type, Any] = {Circle: _circled, Marks: _dotted, Route: _traced}

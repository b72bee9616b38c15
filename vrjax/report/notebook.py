"""What a notebook shows of the library's records: Jupyter, Colab, VS Code, whatever reads HTML; no widgets.

    run                                    # the last line of a cell: a sampled clip shows its scrubber
    notebook.shown(claims.read(file))      # the same by hand, for what is listed in `SHOWS` and lists of claims

The scrubber is the report's own page, whole, in an iframe that may run its one script and nothing else (an opaque
origin, no network). Everything that came from data was escaped for that page and is escaped again to stand in `srcdoc`.
A run with more pictures than a notebook should carry is shown in part, and it is said which part.

`register` is called by `import vrjax` under IPython. Formatters are bound to names of types, so nothing is imported
before something is shown, and the rooms below need not know of this one.
"""

import html as markup
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

PIXELS = 1_000_000  # of a page inside a notebook, as it is stored: about 3 MB where nothing of it compresses
HEIGHT = 760  # of the frame, in CSS pixels; it can be pulled taller
SEEDS, STEPS, FRAMES = 4, 20, 9  # shown in any case, as far as there are so many
SEEDED = ("seeds", "solved", "outcomes")  # fields of a case that have a value a seed
SIDE = 32  # pixels: videos are not made smaller than this


def register() -> bool:
    """Tells IPython how to show the types of `SHOWS`; whether there was an IPython to tell."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    formatter = getattr(shell, "display_formatter", None)
    if formatter is None:
        return False
    for where, (name, show) in ((w, pair) for w, pairs in SHOWS.items() for pair in pairs.items()):
        formatter.formatters["text/html"].for_type_by_name(where, name, show)
    return True


class View(str):
    """HTML that shows itself as the last line of a cell."""

    def _repr_html_(self) -> str:
        return self


def shown(thing: Any) -> View:
    """The HTML of one of the types in `SHOWS`, or of a list of claims.

    Raises:
        TypeError: nothing here shows it.
    """
    for kind in type(thing).__mro__:
        if show := SHOWS.get(kind.__module__, {}).get(kind.__name__):
            return View(show(thing))
    if isinstance(thing, (list, tuple)) and thing and all(type(one).__name__ == "Claim" for one in thing):
        return View(claims(thing))
    known = ", ".join(name for names in SHOWS.values() for name in names)
    raise TypeError(f"nothing shows a {type(thing).__name__}; expected one of {known}, or a list of claims")


# ------------------------------------------------------------------------------------------------------------- pieces


def frame(document: str, title: str, said: str = "", height: int = HEIGHT) -> str:
    """A whole page as an iframe that runs its own script and reaches nothing."""
    note = f'<div style="{SMALL}">{markup.escape(said)}</div>' if said else ""
    return (
        f'<iframe title="{markup.escape(title)}" sandbox="allow-scripts" srcdoc="{markup.escape(document)}" '
        f'style="width:100%;height:{height}px;border:0;resize:vertical;overflow:auto" loading="lazy"></iframe>{note}'
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> str:
    """A plain table in the notebook's own type."""
    from vrjax.report.html import number

    cell = lambda tag, value: f'<{tag} style="text-align:left">{markup.escape(number(value))}</{tag}>'
    line = lambda tag, row: "<tr>" + "".join(cell(tag, value) for value in row) + "</tr>"
    head = f"<b>{markup.escape(title)}</b>" if title else ""
    body = "".join(line("td", row) for row in rows)
    return f"{head}<table><thead>{line('th', columns)}</thead><tbody>{body}</tbody></table>"


SMALL = "font-size:90%;opacity:.75;margin:.3em 0"


def thinned(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly, both ends among them."""
    return list(range(count)) if count <= most else sorted({round(i) for i in np.linspace(0, count - 1, max(most, 2))})


def bounded(case: Any, pixels: int = PIXELS) -> tuple[Any, str]:
    """A case of the scrubber within a number of pixels, and what was left out, in words ("" for nothing).

    In this order, as far as it takes: x_t, steps, seeds, frames, and then the videos are made smaller. A motion's
    joint counts as two pixels, and its frames are all kept.
    """
    if not hasattr(case, "x0"):
        return _bounded_body(case, pixels)
    held: dict[str, int] = dict(zip(("seeds", "steps", "frames"), np.shape(case.x0), strict=False))
    counts, shrink, noisy = _fitting(case, held, pixels)
    left_out = case.noisy is not None and not noisy
    if counts == held and shrink == 1 and not left_out:
        return case, ""
    said = [f"{counts[name]} of {held[name]} {name}" for name in ORDER if counts[name] < held[name]]
    said += ["without x_t"] if left_out else []
    said += [f"videos at 1/{shrink} of their size"] if shrink > 1 else []
    small = _part(case, {name: thinned(held[name], counts[name]) for name in held}, shrink, noisy)
    return small, LEFT_OUT.format(", ".join(said))


def _bounded_body(body: Any, pixels: int) -> tuple[Any, str]:
    held: dict[str, int] = dict(zip(("seeds", "steps", "frames"), body.joints.shape, strict=False))
    room = max(1, pixels // (2 * 22 * held["frames"]))
    steps = min(held["steps"], max(STEPS, room // held["seeds"]))
    counts = {"seeds": min(held["seeds"], max(SEEDS, room // steps)), "steps": steps}
    said = [f"{count} of {held[name]} {name}" for name, count in counts.items() if count < held[name]]
    if not said:
        return body, ""
    seeds, at = (thinned(held[name], count) for name, count in counts.items())
    there = np.ix_(seeds, at)
    small = replace(body, joints=body.joints[there], contacts=body.contacts[there], **_kept(body, seeds, at))
    return small, LEFT_OUT.format(", ".join(said))


LEFT_OUT = "Shown in part, to keep the notebook small: {}. The object itself holds all of it."
ORDER: Mapping[str, int] = {"steps": STEPS, "seeds": SEEDS, "frames": FRAMES}


def _fitting(case: Any, held: Mapping[str, int], pixels: int) -> tuple[dict[str, int], int, bool]:
    """How many seeds, steps and frames there is room for, the divisor of the videos' sides, and whether x_t stays."""
    from vrjax.report import _payload

    height, width = np.shape(case.x0)[3:5]
    block = math.gcd(*(_payload.block_size(v) for v in (case.x0, case.truth, case.noisy) if v is not None))
    room, counts, shrink = pixels // (height * width // block**2), dict(held), 1
    for name, least in ORDER.items():
        others = math.prod(count for other, count in counts.items() if other != name)
        counts[name] = min(counts[name], max(least, room // others))
    while math.prod(counts.values()) > room * shrink**2 and min(height, width) // (2 * shrink) >= SIDE:
        shrink *= 2
    return counts, shrink, case.noisy is not None and 2 * math.prod(held.values()) <= room


def _part(case: Any, at: Mapping[str, list[int]], shrink: int, noisy: bool) -> Any:
    """The case at these seeds, steps and frames, its videos' sides divided by `shrink`."""
    seeds, steps, frames = at["seeds"], at["steps"], at["frames"]
    smaller = lambda films: films[..., ::shrink, ::shrink, :]
    film = lambda films: smaller(films[np.ix_(seeds, steps, frames)])
    return replace(
        case,
        x0=film(case.x0),
        truth=None if case.truth is None else smaller(case.truth[frames]),
        noisy=film(case.noisy) if noisy else None,
        **_kept(case, seeds, steps),
    )


def _kept(case: Any, seeds: list[int], steps: list[int]) -> dict[str, Any]:
    """What a case says beside its films or joints, at these seeds and steps."""
    pick = lambda row, places: None if row is None else [row[i] for i in places]
    ours = lambda y: y[seeds] if y is not None and y.ndim == 2 else y
    thin = lambda one: replace(one, y=ours(one.y), low=ours(one.low), high=ours(one.high))
    place: dict[int | None, int | None] = {None: None, **{seed: i for i, seed in enumerate(seeds)}}
    return dict(
        steps=pick(case.steps, steps),
        sigma=pick(case.sigma, steps),
        **{name: pick(getattr(case, name), seeds) for name in SEEDED},
        guesses=None if case.guesses is None else [pick(case.guesses[seed], steps) for seed in seeds],
        maps=[replace(one, values=one.values[np.ix_(seeds, steps)]) for one in case.maps],
        curves=[replace(one, series=[thin(series) for series in one.series]) for one in case.curves],
        events=[replace(one, seed=place[one.seed]) for one in case.events if one.seed in place],
    )


# ------------------------------------------------------------------------------------------------------------- shows


def page(thing: Any) -> str:
    """A whole page, its scrubbers within the bound."""
    from vrjax.report import html

    said, scrubbers = [], []
    count = sum(len(one.cases) for one in thing.scrubbers)
    for one in thing.scrubbers:
        small = [bounded(case, PIXELS // count) for case in one.cases]
        said += [words for _, words in small if words]
        scrubbers.append(replace(one, cases=[case for case, _ in small]))
    document = html.render(replace(thing, scrubbers=scrubbers))
    return frame(document, thing.title, said[0] if said else "")


def case(thing: Any) -> str:
    """One case of the scrubber: videos, or motions."""
    from vrjax.report import html

    return page(html.Page(thing.name, scrubbers=[html.Scrubber([thing])]))


def clip(thing: Any) -> str:
    """A task's clip: the true film as a strip of frames, the question and the answer."""
    import base64

    from vrjax.files import pixels

    film = np.asarray(thing.video)
    at = thinned(len(film), FRAMES)
    film = film[at]
    film = film[:, :: max(1, film.shape[1] // 120), :: max(1, film.shape[2] // 120)]
    height, gap = film.shape[1], 2
    sheet = np.full((height, len(film) * (film.shape[2] + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pixels.to_uint8(film, "video")):
        sheet[:, i * (film.shape[2] + gap) : i * (film.shape[2] + gap) + film.shape[2]] = picture
    uri = "data:image/png;base64," + base64.b64encode(pixels.png(sheet)).decode("ascii")
    part = "" if len(at) == len(thing.video) else f" ({len(at)} of {len(thing.video)} frames)"
    told = f"{thing.prompt} → {thing.answer}{part}"
    style = f"image-rendering:pixelated;height:{max(height, 96)}px;max-width:100%"
    return f'<img style="{style}" alt="frames of the true film" src="{uri}"><div>{markup.escape(told)}</div>'


def trajectory(thing: Any) -> str:
    """A run: its pictures where its latents are pictures (three channels), and what it holds."""
    from vrjax.report import html

    x0 = thing.x0
    if x0 is not None and np.ndim(x0) in (5, 6) and x0.shape[-1] == 3 and 0 not in x0.shape and _here(x0):
        films = np.asarray(x0, np.float32)
        films = films[None] if films.ndim == 5 else films
        if np.isfinite(films).all():
            steps = sorted(range(len(thing.steps)), key=lambda i: thing.steps[i])
            sigma = np.asarray(thing.grid.sigmas)[sorted(thing.steps)]
            films = films[:, steps]
            return case(html.Case("A trajectory", "", films, steps=sorted(thing.steps), sigma=sigma))
    return fields(thing)


def motion(thing: Any) -> str:
    """A motion in the viewer; a batch of them as so many seeds."""
    from vrjax.report import html

    joints = thing.joints
    if _here(joints) and joints.ndim in (3, 4) and 0 not in joints.shape and np.isfinite(joints).all():
        places = np.asarray(joints)
        places = places[None] if places.ndim == 3 else places
        labels = [f"motion {i}" for i in range(len(places))]
        return case(html.Body(f"{places.shape[1]} frames", "", places[:, None], seeds=labels))
    return table(("", "shape"), [(name, str(np.shape(part))) for name, part in thing._asdict().items()], "Motion")


def _here(array: Any) -> bool:
    from jax import core

    if isinstance(array, core.Tracer) or not hasattr(array, "__array__"):
        return False
    return isinstance(array, np.ndarray) or array.is_fully_addressable and not array.is_deleted()


def fields(thing: Any) -> str:
    """What a record holds: names, shapes, ranges."""
    from vrjax.flow import words

    held = {name: getattr(thing, name) for name in thing.__dataclass_fields__}
    return table(
        ("", ""), [(name, words.value(item)) for name, item in words.filled(held).items()], type(thing).__name__
    )


def claims(rows: Sequence[Any]) -> str:
    """Claims with their verdicts, one line each."""
    ends = lambda one: (
        "–" if one.interval is None else f"{one.interval[0]:.3g} to {one.interval[1]:.3g}".replace("-", "−")
    )
    columns = ("claim", "verdict", "estimate", "95 %", "null", "smallest", "seeds", "p (Holm)")
    told = [
        (c.statement, c.verdict or "numbers only", c.estimate, ends(c), c.null, c.smallest, c.seeds,
         c.p if c.holm is None else c.holm)
        for c in rows
    ]  # fmt: skip
    return table(columns, told)


def plan(thing: Any) -> str:
    """What a job needs of a device."""
    return f"<pre>{markup.escape(thing.table())}</pre>"


def card(thing: Any) -> str:
    """A world's score card: a line a check."""
    columns = ("check", "generation", "asks for", "verdict", "why")
    rows = [(row.name, str(row.generation), row.title, row.verdict, row.why) for row in thing.rows]
    return table(columns, rows, repr(thing))


def pipeline(thing: Any, more: Sequence[Sequence[Any]] = ()) -> str:
    """A model's folder and how it is sampled; `more` rows behind the folder's."""
    rows: list[Any] = [("folder", thing.folder.root.name), *more]
    for name in (found := thing.defaults).__dataclass_fields__:
        value = getattr(found, name)
        rows += [] if value in (None, "") else [(name, value if isinstance(value, (int, float)) else str(value))]
    return table((thing.name, "by default"), rows)


SHOWS: Mapping[str, Mapping[str, Callable[[Any], str]]] = {
    "vrjax.flow.core": {"Trajectory": trajectory},
    "vrjax.tasks.core": {"Clip": clip},
    "vrjax.report.parts": {"Page": page, "Case": case, "Body": case},
    "vrjax.motion.kinematics": {"Motion": motion},
    "vrjax.report.record": {"Claim": lambda one: claims([one])},
    "vrjax.world.ladder._card": {"Scorecard": card},
    "vrjax.plan.slices": {"Plan": plan},
    "vrjax.plan.single": {"Account": plan},
    "vrjax.models.pipeline.pipelines": {"Pipeline": pipeline},
}
"""By module and class: what shows it. A subclass is shown as its nearest ancestor here."""

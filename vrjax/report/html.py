"""`write(path, Page(...))`: one self-contained page to look at thinking.

    from vrjax.report.html import Case, Curve, Page, Scrubber, Series, write

    case = Case("maze 7", clip.prompt, x0, truth=clip.video, sigma=traj.sigma[:-1], guesses=judged(task, clip, x0),
                maps=[LayerMap("Token energy", energy)],                       # (seed, step, block, frame)
                curves=[Curve("Off-solution ink", [Series("this run", ink)])])  # (seed, step)
    page = Page("Chain of steps", intro="...", scrubbers=[Scrubber([case])], claims=claims,
                curves=[Curve("Candidates", [Series("model", mean, low=lo, high=hi), Series("null", n, role="null")])])
    write("runs/chain_of_steps", page)                                          # -> runs/chain_of_steps/report.html

    walk = Body("walk", "a person walks in a circle", joints, truth=clip.motion.joints)   # (seed, step, frame, 22, 3)
    write("runs/vimogen", Page("Motion", scrubbers=[Scrubber([walk])]))          # the same panel, with bodies in 3-D

The records and their fields are in `vrjax.report.parts`. The file has everything inside itself and asks the network for
nothing: its content security policy allows its own one script and one style sheet (by hash) and images from data URIs.
Strings from data reach the page through Jinja's autoescape or, from the script, as text nodes: never as markup.
"""

import base64
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
from typing import Any

import jinja2
import markupsafe
import numpy as np

from vrjax.files.writing import atomic
from vrjax.report import _payload
from vrjax.report.parts import (
    Body,
    Case,
    Curve,
    Effect,
    Event,
    Forest,
    HeatMap,
    LayerMap,
    Page,
    Picture,
    Scrubber,
    Series,
    Table,
    pixels,
)

__all__ = [
    "Body",
    "Case",
    "Curve",
    "Effect",
    "Event",
    "Forest",
    "HeatMap",
    "LayerMap",
    "Page",
    "Picture",
    "Scrubber",
    "Series",
    "Table",
    "pixels",
    "render",
    "write",
]

VERDICTS = {"reproduced": "yes", "not reproduced": "no", "inconclusive": "open", "not tested": "open"}
_SCRIPTS = ("core.js", "place.js", "plots.js", "sheet.js", "film.js", "body.js", "scrubber.js", "page.js")


def write(path: str | os.PathLike[str], page: Page) -> pathlib.Path:
    """Writes the report and returns its path.

    Args:
        path: a file ending in .html, or the run folder, which then gets `report.html`.

    Raises:
        ValueError: a part holds what cannot be drawn. Nothing is written then.
    """
    target = pathlib.Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        target = target / "report.html"
    text = render(page)
    with atomic(target) as scratch:
        # half a surrogate pair (a prompt out of broken JSON) has no UTF-8 form: shown as "?"
        scratch.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return target


def render(page: Page) -> str:
    """The report as HTML text."""
    if not isinstance(page, Page):
        raise ValueError(f"page: expected a vrjax.report.html.Page, found {type(page).__name__}")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vrjax.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["verdict"] = lambda value: VERDICTS.get(str(value), "open")
    environment.tests["verdict"] = lambda value: isinstance(value, str) and value in VERDICTS
    environment.tests["numeric"] = _payload.is_number
    # newlines inside script and style: the browser hashes what it parsed, which has only \n
    style = "\n" + _asset("page.css") + "\n"
    script = "\n(() => {\n" + "\n".join(map(_asset, _SCRIPTS)) + "\n})();\n"
    claims = _payload.claims(page.claims)
    return environment.get_template("page.html.j2").render(
        page=page,
        paragraphs=[p.strip() for p in page.intro.split("\n\n") if p.strip()],
        claims=claims,
        with_null=any(series.role == "null" for curve in page.curves for series in curve.series),
        followed=bool(page.scrubbers) and any(curve.sync for curve in page.curves),
        tally={verdict: sum(c["record"].verdict == verdict for c in claims) for verdict in VERDICTS},
        contacts=[_payload.contact(case, bool(s.compare)) for s in page.scrubbers for case in s.cases],
        pictures=[_payload.picture(p) for p in page.pictures],
        config=json.dumps(page.config, indent=2, default=str, ensure_ascii=False) if page.config else "",
        payload=_inert(_payload.inert_json(_payload.page(page))),
        style=_inert(style),
        script=_inert(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=_version(),
    )


def number(value: Any) -> str:
    """A number as a person writes it: three significant digits, a true minus sign, an en dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace("-", "−").replace(",", "\u202f")
    if not isinstance(value, (float, np.floating)):
        return str(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    if "e" in text and 1e-4 <= abs(value):
        text = f"{value:.0f}"
    return text.replace("-", "−")


def _asset(name: str) -> str:
    return (pathlib.Path(__file__).parent / "templates" / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _inert(text: str) -> markupsafe.Markup:
    """Marks our own script, our own style sheet and the escaped payload as not to be escaped again."""
    return markupsafe.Markup(text)


def _version() -> str:
    try:
        return importlib.metadata.version("vrjax")
    except importlib.metadata.PackageNotFoundError:
        return ""

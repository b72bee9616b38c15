"""From motions to numbers: one compiled program with both judges, MBench and the matcher, for all arms and seeds.

    judges = measuring.judges(pathlib.Path("runs/vimogen"))
    measuring.table(here, judges, items.script, items.text, joints, "T2M")

The rules read joints exactly; the recogniser has learned what scripts look like; the matcher puts texts and motions
into one space. None of them has seen a motion that a model made.
"""

import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.vimogen import recogniser
from vrjax.bench import mbench
from vrjax.files import kept
from vrjax.models.embedded import matcher
from vrjax.motion import program
from vrjax.motion.program import predicates
from vrjax.study.tables import Bench, Tables

TYPES = {"rules": bool, "recogniser": bool, "parts": bool, "metrics": np.float32, "match": np.float32}
TYPES |= {"features": np.float16, "text features": np.float16}


class Judges(NamedTuple):
    """Who judges.

    Attributes:
        recogniser: reads the script.
        matcher: reads how near text and motion are.
        of: fingerprint of the weights of both.
    """

    recogniser: recogniser.Recogniser
    matcher: matcher.Matcher
    of: str


def judges(folder: pathlib.Path) -> Judges:
    """Those of the study: the recogniser that is kept in a folder, trained first where it is missing, and the matcher
    that comes with the package."""
    seen = recogniser.trained(folder)
    files = {"recogniser": folder / "recogniser.safetensors", "matcher": matcher.FOLDER / matcher.FILE}
    return Judges(seen, matcher.load(), kept.key(**{name: kept.fingerprint(file) for name, file in files.items()}))


def read(
    here: Bench,
    judges: Judges,
    scripts: program.Script,
    text: Float[Any, "n l d"],
    joints: Float[Any, "n t 22 3"],
    label: str,
) -> Tables:
    """All that is measured of motions.

    Args:
        here: runs the program.
        judges: see `Judges`.
        scripts: what was asked for; n of them.
        text: the same as rows of text.
        joints: metres, z up, 20 a second, at any height.
        label: of the progress bar.

    Returns:
        `rules`, `recogniser` (n,), whether the motion does what its script says; `parts` (n, 5), of
        `recogniser.Parts`; `metrics` (n, 5), of `mbench.NAMES`, over a floor at the lowest joint, so that nothing
        penetrates it; `match` (n,), cosine of the matcher's features of text and motion; these, `text features` and
        `features` (n, 32).
    """

    def one(both: tuple[Any, Any], row: Any) -> dict[str, Any]:
        parts = recogniser.agrees(row["script"], recogniser.recognise(both[0], row["joints"]))
        words, motion = both[1].text(row["text"]), both[1].motion(row["joints"])
        # Rows have the first pelvis at 0 and no floor: each motion stands on its own, at its lowest joint.
        metrics = mbench.metrics(row["joints"] - row["joints"][..., 2].min() * jnp.array([0.0, 0.0, 1.0]), 2)
        return {
            "rules": predicates.agrees(row["script"], row["joints"]),
            "recogniser": parts.all,
            "parts": jnp.stack(parts),
            "metrics": jnp.stack([jnp.asarray(metrics[name]) for name in mbench.NAMES]),
            "match": words @ motion,
            "features": motion,
            "text features": words,
        }

    script = program.Script(*(np.asarray(column, np.int32) for column in scripts))
    rows = {"script": script, "text": np.asarray(text), "joints": np.asarray(joints, np.float32)}
    found = here.over(one, (judges.recogniser, judges.matcher), rows, label)
    return {name: value.astype(TYPES[name]) for name, value in found.items()}


def table(
    here: Bench,
    judges: Judges,
    scripts: program.Script,
    text: Float[Any, "n l d"],
    joints: Float[Any, "n t 22 3"],
    label: str,
) -> Tables:
    """The table of an arm: `read` without the texts' features, which are no arm's."""
    found = read(here, judges, scripts, text, joints, label)
    return {name: value for name, value in found.items() if name != "text features"}

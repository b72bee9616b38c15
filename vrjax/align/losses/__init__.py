"""Preference losses as pure, elementwise functions of errors and log-densities.

    from vrjax.align import losses
    losses.dpo(win_gap, lose_gap, beta=500.0)

Conventions of every file here. An *error* is the flow-matching error of one example at one noise and one level, the
**mean** over elements of the squared difference (`vrjax.train.objectives.flow_error`); beta has its size from this
mean: with a sum over D elements it would be D times smaller. A *gap* is the policy's error minus the reference's:
`win_gap` on the preferred example, `lose_gap` on the other, so a negative gap is an example that the policy has come to
like more than the reference does; its implicit reward is `-(beta / 2) gap`. Nothing is reduced: the result has the
broadcast shape of the arguments, in float32 (or float64 where that is switched on).

A file named as its loss that defines `METHOD` is a loss of preference runs (`--preference.loss NAME`); nothing is
registered. The others, `grpo` and `spo`, belong to policy gradients.
"""

import importlib
from typing import Any

from jaxtyping import Array, Float

from vrjax.align.losses._method import Method as Method
from vrjax.align.losses._method import over_losers as over_losers
from vrjax.align.losses.dense_dpo import dense_dpo as dense_dpo
from vrjax.align.losses.dpo import beta_at as beta_at
from vrjax.align.losses.dpo import dpo as dpo
from vrjax.align.losses.dpo import logit as logit
from vrjax.align.losses.dpop import dpop as dpop
from vrjax.align.losses.grpo import advantages as advantages
from vrjax.align.losses.grpo import gaussian_kl as gaussian_kl
from vrjax.align.losses.grpo import grpo as grpo
from vrjax.align.losses.hinge import hinge as hinge
from vrjax.align.losses.ipo import ipo as ipo
from vrjax.align.losses.kto import kto as kto
from vrjax.align.losses.kto import kto_baseline as kto_baseline
from vrjax.align.losses.local_dpo import local_dpo as local_dpo
from vrjax.align.losses.reference_free import reference_free as reference_free
from vrjax.align.losses.reg_dpo import reg_dpo as reg_dpo
from vrjax.align.losses.robust import robust as robust
from vrjax.align.losses.sft import sft as sft
from vrjax.align.losses.smoothed import smoothed as smoothed
from vrjax.align.losses.spo import spo as spo
from vrjax.files import named


def methods() -> dict[str, Method]:
    """What the files of this folder call `METHOD`, by name."""
    files = ((name, importlib.import_module(f"{__name__}.{name}")) for name in named.names(__name__))
    return {name: file.METHOD for name, file in files if hasattr(file, "METHOD")}


METHODS = methods()
"""The losses that a preference run can have."""


def pair_losses(spec: Any, measured: Any, batch: dict[str, Any]) -> Float[Array, " b"]:
    """The loss of every pair of a batch, mean over its losers.

    Args:
        spec: a `Preference`, or one whose numbers are traced.
        measured: errors of policy and reference, (b,) and (b, losers), as `errors.Measured`; with parts where needed.
        batch: what else the method takes from the pairs, such as `masks` (b, parts, ...) and `label` (b, parts).

    Raises:
        ValueError: the batch lacks what the method needs.
    """
    beta = beta_at(measured.sigma, spec.beta, weighting=spec.weighting)
    return METHODS[spec.loss].apply(spec, measured, batch, beta)

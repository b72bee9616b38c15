"""What is measured of guided samplers, by name: groups of problems, arms and their settings. No model is needed."""

from typing import NamedTuple

PUBLISHED, CHOSEN = "published", "chosen"
SETTINGS = (PUBLISHED, CHOSEN)
"""Of an arm's one number: as published (of a normalised step: 1), and what did best on the problems for validation."""
SIGNALS = "signals"
"""The group of Levy signals; mixtures in d dimensions are the group `mixtures d`, see `config.Guided.groups`."""
NOT_RUN, NOT_FINITE = -1, -2
"""In the place of a rank: the pair was not measured; a draw was not finite."""


class Known(NamedTuple):
    """Of an arm: "posterior" or "map", what it aims at; the candidates for its number, the first being the published
    one, or () where it has none."""

    kind: str
    candidates: tuple[float, ...] = ()


ARMS = {
    "pigdm": Known("posterior", (1.0, 0.3, 0.1, 0.03)),
    "tmpd": Known("posterior"),
    "ot_ode": Known("posterior"),
    "ot_ode gamma_t": Known("posterior"),
    "dps": Known("posterior", (10.0, 1.0, 0.3, 0.1, 0.03, 0.01)),
    "dps normalised": Known("posterior", (1.0, 0.5, 0.25, 0.1, 0.05)),
    "dps likelihood": Known("posterior"),
    "flowdps": Known("posterior", (15.0, 1.5, 0.5, 0.15, 0.05)),
    "flowdps normalised": Known("posterior", (1.0, 0.5, 0.25, 0.1)),
    "flowchef": Known("posterior", (15.0, 0.5, 0.1, 0.03, 0.01)),
    "flowchef normalised": Known("posterior", (1.0, 0.3, 0.1, 0.05, 0.02)),
    "daps": Known("posterior"),
    "daps of the noise": Known("posterior", (1e-4, 1e-3, 4e-3)),
    "smc": Known("posterior", (1.0, 3.0, 0.3, 0.1)),
    "latent elliptical_slice": Known("posterior"),
    "latent laplace_slice": Known("posterior"),
    "latent tempered_smc": Known("posterior"),
    "pnp_flow": Known("map", (1.0, 3.0, 0.3, 0.1)),
    "pnp_flow normalised": Known("map", (1.0, 0.3, 0.1)),
    "d_flow": Known("map"),
}
LATENT = tuple(name for name in ARMS if name.startswith("latent "))
FEW = ("d_flow",)
"""Arms that are measured on few draws."""
SLOW = (*FEW, "daps", "daps of the noise", "latent elliptical_slice", "latent laplace_slice")
"""Arms with which each problem is measured by one seed only, in turn."""

"""The encoded pairs of a run, checked against its model and for what tells winners from losers."""

from vrjax.align import separability
from vrjax.align.cache import Encoded
from vrjax.align.config import AlignConfig
from vrjax.models import family
from vrjax.parallel import processes

CHECKED = 64  # pairs looked at before training


def opened(config: AlignConfig) -> Encoded:
    """The encoded pairs of a run, with the image condition that its model takes.

    Raises:
        FileNotFoundError, ValueError: none there, or pairs of another model.
    """
    assert config.pairs is not None
    row = Encoded(config.pairs, losers=0, condition=False)[0]
    channels, given = row["latent"].shape[-1], row["image"].shape[-1]
    of = family.of(config.model)
    if channels != (expected := of.channels(config.model)):
        raise ValueError(f"{config.pairs}: latents of {channels} channels, the config's model has {expected}")
    wanted = of.conditions(config.model, row["latent"].shape).get("image", (0,))[-1]
    if wanted != given and (given or wanted != channels + 1):
        raise ValueError(
            f"config {config.name!r}: the model's image condition has {wanted} channels, the pairs in {config.pairs} "
            f"have {channels} channels and {given} of a stored condition: expected {given}"
            + (f", or {channels + 1} for the first frame and its mask" if not given else "")
        )
    return Encoded(config.pairs, losers=config.clips - 1, condition=wanted != given)


def pairs(config: AlignConfig) -> Encoded:
    """As `opened`.

    Raises:
        FileNotFoundError, ValueError: as `opened`; or winners that differ from losers in something trivial.
    """
    found = opened(config)
    if found.losers and len(found) > 1:
        rows = (found[i] for i in range(min(len(found), CHECKED)))
        apart = separability.check((row["latent"], row["lose"]) for row in rows)
        for note in apart.notes if processes.first() else ():
            print(f"{config.name}: {note}")
        if not config.allow_separable:
            separability.refuse(apart, f"config {config.name!r}, pairs {config.pairs}")
    return found

"""One file per way to come by visual thoughts; `get` finds it by name, so nothing is registered.

    reasoner, imager = get("oracle")            # two classes, one and the same where it does both
    oracle = reasoner(world, clip, keyframes=4)

A file names its `REASONER` and its `IMAGER` (`keyframes.Reasoner`, `keyframes.Imager`), and every pair obeys
`tests/laws/test_reasoners.py`: asked again it says the same, its chain ends, what it draws are pictures.

| file | says and draws |
| --- | --- |
| oracle | the film of a clip of `vrjax.tasks` |
| replay | a folder of anybody's keyframes |
| learned | what a small trained classifier thinks comes next |
| noisy | another one's thoughts, wrong at a given rate |
| http | what an OpenAI-compatible server answers; nothing is sent unless you make one |
"""

from vrjax.files import named
from vrjax.reasoning.thoughts.keyframes import Imager, Reasoner


def names() -> tuple[str, ...]:
    """The reasoners that exist."""
    return named.names(__name__)


def get(name: str) -> tuple[type[Reasoner], type[Imager]]:
    """The classes `REASONER` and `IMAGER` of the file called `name`. Raises ValueError for an unknown name."""
    file = named.module(__name__, name, "reasoner")
    return file.REASONER, file.IMAGER

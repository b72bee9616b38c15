"""Learned worlds behind the protocol: a causal network that denoises the next frame, its cache being the State.

    w = learned.load("runs/push/world")                     # or of a name in learned.names(), shipped: "drive", "push"
    state = w.make(key)                                     # what the exact world begins with, seen once
    found = world.plan(w, state, push.cost, key, "cem", horizon=12, candidates=64, iterations=4)

| file | what is in it |
| --- | --- |
| `world` | `Learned`, and its `Spec`: the exact world it was learned from, denoising steps, what is read |
| `files` | the folder of a world: `load`, `save`, `halve`; `assembled` of its parts; those that are shipped |
| `patches` | between frames and latents: principal components of squares of pixels |
| `reader` | places of things in a frame |
| `practice` | films of the exact world in which something happens, drawn on the fly |
| `train` | `run(config)`: a training run of a world |
| `distill` | the same to fewer denoising steps: its own rollouts, a teacher and a critic |
| `loop` | both behind one door, that of `vrjax learn` |
| `measure` | how far it strays from the exact world |
| `library` | films that are drawn once and kept, of a road |
| `odometry` | how far a car has come, read off what it sees |
| `strays` | how far a learned road strays from the exact one |
"""

from vrjax.files import named
from vrjax.world.learned.files import assembled as assembled
from vrjax.world.learned.files import halve as halve
from vrjax.world.learned.files import load as load
from vrjax.world.learned.files import names as names
from vrjax.world.learned.files import place as place
from vrjax.world.learned.files import save as save
from vrjax.world.learned.world import Learned as Learned
from vrjax.world.learned.world import Spec as Spec
from vrjax.world.learned.world import State as State

__getattr__, __dir__ = named.lazy(__name__)

"""Procedural motion: an endless stream of true motions with text and exact contacts, as a pure JAX function.

    script, clip = program.sample(key, "S", frames=61)       # Performance(motion, contacts) of a random Script
    clip = program.perform(key, program.script("walk", speed="slow", upper="wave"), frames=61)
    rows = motion.to_276(*clip.motion)                       # (60, 276)
    program.caption(script, paraphrase=1)                    # "someone strolls ahead at a slow pace and ..."
    program.tokens(script, 1)                                # the same as numbers of words, inside jit

Feet are planted by inverse kinematics: between two frames of contact a foot does not move. All joints are forward
kinematics of the rotations over `program.OFFSETS`. Text and motion know nothing else of the world: a verb that is never
trained on cannot be understood, which is what the set V is for.

| module | what is in it |
| --- | --- |
| `verbs` | the actions: a row of numbers and words each |
| `choreography` | scripts, styles, and from them the targets of feet, trunk and hands |
| `body` | bones, and the pose that reaches the targets |
| `curves` | what moves are made of |
| `splits` | the sets S, C and V |
| `wandering` | motions at random, which no words describe |
| `text` | captions and word numbers |
| `scale` | mean and standard deviation of the rows of the set S, for normalising |
| `predicates` | which actions a motion shows, read from its joints: a judge without a network |
"""

from vrjax.files import named
from vrjax.motion.program.body import OFFSETS as OFFSETS
from vrjax.motion.program.choreography import Performance as Performance
from vrjax.motion.program.choreography import Script as Script
from vrjax.motion.program.choreography import perform as perform
from vrjax.motion.program.splits import SETS as SETS
from vrjax.motion.program.splits import draw as draw
from vrjax.motion.program.splits import sample as sample
from vrjax.motion.program.splits import script as script
from vrjax.motion.program.splits import scripts as scripts
from vrjax.motion.program.splits import set_of as set_of
from vrjax.motion.program.text import HELD_OUT as HELD_OUT
from vrjax.motion.program.text import caption as caption
from vrjax.motion.program.text import tokens as tokens
from vrjax.motion.program.text import vocabulary as vocabulary
from vrjax.motion.program.wandering import wander as wander

__getattr__, __dir__ = named.lazy(__name__)

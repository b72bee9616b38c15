"""What checks may ask of a kind of exact world: one file a kind, named as the world's file.

A file says what it can. A function that it lacks makes those checks "not applicable" that need it, with a reason:
nothing is assumed. `decoded` is of one moment, `state` is a State of the exact world; all are pure JAX unless it is
said.

| name | what it says |
| --- | --- |
| TOLERANCE, EPSILON | within what a place counts as right, and as not moved |
| KIND, STEPS | by what kind of input things are done (actions), and how many steps an episode has (any number) |
| FIXED | names in decoded that never change, which a world need not decode: it has them as the exact one does |
| JUDGES | names in decoded by which the rest is judged: the exact world's, whatever another world says |
| WHY | why a fact is lacking, by its name |
| agent, others | places (d,) and (n, d) in decoded; `others` are all bodies but the agent |
| put | a state with agent and others elsewhere |
| boxes | (m, 4): centre and half sides of all bodies, the agent first |
| matched | instead of boxes: `matched(mine, true) -> (2, m)`, blocks where both or any of two moments show a thing |
| whole, RUNS | instead of its example: an exact world on which every check can be made; and with so many rollouts |
| rest, act | an action that does nothing; `act(key, state, steps)` draws some |
| seen | (n,) which of the others are in sight |
| hide | `hide(key, state, steps) -> (state, actions)`: something is out of sight on the way and in sight at the end |
| tour | `tour(key, state, steps) -> (state, actions)` that lead away and back to where they began |
| MOVING, cross | a camera that moves with the agent; how far two cameras disagree where both look |
| clear, REQUEST | a state with free way about the agent, for requests of so many steps |
| lone | states in which nothing changes by itself (drive) |
| asked | `asked(kind, moves (t, 2), state) -> inputs`: the same wish said in another kind of input (host) |
| requested, relative | instead of it, where a way is not a row of moves: requests with their ways, and ways (host) |
| texts | tasks of one to ten parts (host) |
| told | instead of them, where each state has its own: `told(states) -> (codes, parts)` (host) |
| violations | `violations(decoded (t, ...), first) -> {name: (t, ...)}`, each 0 where physics holds |
| reach, short, there, goal, PLANNERS | tasks for planners at three scales; `solved` where it is not `success` |
| likeness, library | what makes two first states alike, and the world of episodes to retrieve from |
| coin | `coin(truth) -> (state, actions, other actions)`: steps in which a coin is seen to fall |
| ODDS, TOSSES, FIRST | the leaf that is the coin's probability ("slip"), how many fall, whether only the first counts |
| TALLY | whether `outcome` is summed over steps; else that of the last one counts |
| outcome, faces | a number that the coins decide; (t,) the coins that are seen, 0 or 1 |
| salient, contact, touched | flags of a moment; a state that leads to a contact after known seconds, and its flag |
"""

from vrjax.files import named


def names() -> tuple[str, ...]:
    """Kinds of worlds of which something is known."""
    return named.names(__name__)


def get(name: str):
    """The facts of one kind. Raises ValueError where nothing is known of it."""
    return named.module(__name__, name, "kind of world")

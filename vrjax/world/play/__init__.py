"""Driving two worlds side by side, by hand, on a page of this machine.

    from vrjax.world import play
    drives = play.Session(play.open_worlds(("exact", "exact")), seed=0)
    moment = drives.begin()
    moment, tick = drives.tick(moment, [play.Event(1, "down", "forward")])      # no server, no clock: a pure core

`vrjax play drive` serves it. What comes in are numbered events, what goes out are ticks: both worlds one step on. A
drive is what came in, tick by tick, and the digests of what followed; it replays bit for bit.

| module | what is in it |
| --- | --- |
| `controls` | events of the page, and what action they ask for |
| `sides` | the two worlds: found by name or file, begun from one scene, how far they are apart |
| `session` | the core: a moment, and the tick that leads to the next |
| `recording` | a drive on disk, and whether it replays |
| `server` | the page and its socket, on loopback only (needs the `play` extra) |
| `page` | the page; its parts are in `templates` |
"""

from vrjax.world.play.controls import Controls as Controls
from vrjax.world.play.controls import Event as Event
from vrjax.world.play.recording import Recording as Recording
from vrjax.world.play.recording import Replayed as Replayed
from vrjax.world.play.recording import replay as replay
from vrjax.world.play.session import Moment as Moment
from vrjax.world.play.session import Session as Session
from vrjax.world.play.session import Tick as Tick
from vrjax.world.play.sides import EXACT as EXACT
from vrjax.world.play.sides import Side as Side
from vrjax.world.play.sides import open_worlds as open_worlds

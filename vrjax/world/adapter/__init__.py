"""Any text- or image-to-video pipeline behind the world protocol: a step is a whole clip.

    pipe = pipeline.open(shipped.path("worlds"))
    w = adapter.wrap(pipe)                                  # 9 frames of 40 x 40: a step yields the 8 that are new
    state = w.encode({"frames": picture, "prompt": w.parse("Draw the path through the maze from green to blue.")}, key)
    state = w.step(state, w.parse("..."), key)              # one clip that goes on from the last frame
    w.render(state), w.film(state)                          # its last frame, and all of them

    w = adapter.of_task("worlds", "maze")                   # the shipped model, held against the maze's exact films
    print(world.ladder.run(w, key, quick=True).show())

| file | what is in it |
| --- | --- |
| `adapted` | `Adapter`, and its State: what is seen of a clip, and the prompt; `wrap`, `wrap_function`, `of_task` |
| `samplers` | the pipeline's run as a pure function of a picture, rows of text and a key |
| `films` | the exact world of a task of `vrjax.tasks`: its films, and a reader of them |
"""

from vrjax.files import named
from vrjax.world.adapter.adapted import Adapter as Adapter
from vrjax.world.adapter.adapted import State as State
from vrjax.world.adapter.adapted import of_task as of_task
from vrjax.world.adapter.adapted import wrap as wrap
from vrjax.world.adapter.adapted import wrap_function as wrap_function

__getattr__, __dir__ = named.lazy(__name__)

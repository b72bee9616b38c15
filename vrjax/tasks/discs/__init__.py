"""Discs in a box under exact physics: clips of centres, and the exact judge. Not listed by `tasks.names()`: a clip is a
path, not a video.

    clips = physics.make("bounce", 64, split="test", seed=0, broken=0.5)    # Clips: n conditions, truths and paths
    verifier.judge(clips, paths).valid()                                   # of n or more sampled paths

| file | what is in it |
| --- | --- |
| physics | the simulator from event to event, and clips that obey it or break it in one of four ways |
| pictures | drawing clips, and reading centres back from pixels |
| verifier | distance to the one true future, and residuals that need no reference |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)

"""Causal chains of elements in a row, told in captions and drawn as sprites. Not listed by `tasks.names()`: cells are
sprites, not blocks of the palette.

    task = rules.Chains()
    clip = task.make(0, split="test")
    score.score(clip.video, score.truth(clip.meta["layout"]["kinds"], task.frames))     # all metrics, 1.0 for the truth

| file | what is in it |
| --- | --- |
| rules | the rule, five wrong ones, who causes whom, and the task `Chains` |
| sprites | what the elements look like, drawing and reading |
| words | captions, stories, and their encoding as orthogonal rows |
| score | what a video shows, judged against its scene's rule |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)

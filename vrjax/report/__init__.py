"""What is shown of a run, and what is claimed of it. Import the module you need: they have different dependencies.

| module | what is in it |
| --- | --- |
| `record` | a claim: estimate, null, what must hold, verdict |
| `claims` | `results.json` written and read, the table of many runs |
| `judge` | the rule that gives one of four verdicts |
| `seeds` | training seeds as the unit: interval, p-value, share of variance between them |
| `statistics` | the intervals and tests that it is made of, every draw seeded |
| `coverage` | a command: what the rules say of simulated studies |
| `parts`, `plots` | the records that a page and a figure are made of |
| `guesses` | what each guess of a run is: right, another answer, unreadable |
| `html` | one self-contained page |
| `live` | a page that plays a video while it is made |
| `figures` | figures from the same records |
| `ladders` | a world's score card as a figure |
| `bodies` | sampled motions: the viewer's record of rows, `.npy` and BVH of them |
| `skeletons` | bodies: the floor, the feet on it, the view, still pictures |
| `sheet` | clips of a task as a picture |
| `puzzle_sheet` | puzzles as a picture: a row a subtype, every difficulty with its answer |
| `tables` | tables of text that may be hostile |
| `notebook` | what a notebook shows of all this |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)

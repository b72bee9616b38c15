"""MBench: five metrics of joints, adapters for what needs a body mesh or a model that sees, and the public files.

    mbench.metrics(joints, up_axis=2)                         # one clip (t, 22, 3): five numbers; jit, vmap, grad
    mbench.columns(joints, up_axis=2)                         # on the correct axis, and as the official path reads it

    items = mbench.read("MBench_eval_info.json", dimensions=mbench.NAMES)
    scores = {"mine": mbench.evaluate(items, "motions", up_axis=1)}
    lines = mbench.summary(scores)                            # the control rows are shown, or shown to be missing
    mbench.write_results("results", "mine", scores["mine"])   # the public code's three JSON files

A frozen pose is perfect in four of the five, and real motion worse than most models: no number stands without the rows
of `controls` and without Dynamic_Degree beside it.

| file | what is in it |
| --- | --- |
| formulas | the metrics, pure JAX |
| lists | items, scores, the public files |
| evaluation | from motions and answers to scores |
| answers | questions to a vision-language model, and how its answers are read |
| tables | control rows, summary, table |
"""

from vrjax.bench.mbench.answers import choices as choices
from vrjax.bench.mbench.answers import correct as correct
from vrjax.bench.mbench.answers import question as question
from vrjax.bench.mbench.evaluation import evaluate as evaluate
from vrjax.bench.mbench.formulas import COLUMNS as COLUMNS
from vrjax.bench.mbench.formulas import NAMES as NAMES
from vrjax.bench.mbench.formulas import batch as batch
from vrjax.bench.mbench.formulas import columns as columns
from vrjax.bench.mbench.formulas import frozen as frozen
from vrjax.bench.mbench.formulas import metrics as metrics
from vrjax.bench.mbench.formulas import official as official
from vrjax.bench.mbench.lists import DIMENSIONS as DIMENSIONS
from vrjax.bench.mbench.lists import Item as Item
from vrjax.bench.mbench.lists import Score as Score
from vrjax.bench.mbench.lists import read as read
from vrjax.bench.mbench.lists import read_results as read_results
from vrjax.bench.mbench.lists import write_results as write_results
from vrjax.bench.mbench.tables import CONTROLS as CONTROLS
from vrjax.bench.mbench.tables import FROZEN as FROZEN
from vrjax.bench.mbench.tables import NEAREST as NEAREST
from vrjax.bench.mbench.tables import TRUTH as TRUTH
from vrjax.bench.mbench.tables import cells as cells
from vrjax.bench.mbench.tables import controls as controls
from vrjax.bench.mbench.tables import nearest as nearest
from vrjax.bench.mbench.tables import summary as summary

"""BabyVision and BabyVision-Gen: 22 basic visual skills, read by models that answer and by models that draw.

    items = babyvision.read("babyvision_data")                   # the user's own folder; nothing of it is shipped
    text = babyvision.asked(items[0])                            # beside items[0].image
    scores = babyvision.evaluate(items, {445: said, ...})        # said: what the model said, whole
    babyvision.summary(["model_results_run_1.json", ...])        # mean over runs, by type and subtype
    babyvision.make("Maze", 3)                                   # an item of our own, see vrjax.tasks.puzzles

Drawn answers are read by `vrjax.tasks.puzzles.decoding`, whose `judge` serves `generated.evaluate`.

After arXiv 2601.06521 and its public code, whose slips are kept behind `compat="official"`.

| file | what is in it |
| --- | --- |
| lists | the folders of both tracks |
| hub | their copies on the hub: parquet |
| answers | prompts, extraction, the exact judge, judging models |
| results | scores and result files of the track that answers, the summary |
| generated | generated pictures, their evaluation and summary in the track that draws |
| planted | drawn answers of which it is known whether they are right, and how they are judged |
"""

from vrjax.bench.babyvision.answers import asked as asked
from vrjax.bench.babyvision.answers import extract as extract
from vrjax.bench.babyvision.answers import judge as judge
from vrjax.bench.babyvision.answers import judged as judged
from vrjax.bench.babyvision.lists import read as read
from vrjax.bench.babyvision.lists import write as write
from vrjax.bench.babyvision.results import Score as Score
from vrjax.bench.babyvision.results import evaluate as evaluate
from vrjax.bench.babyvision.results import summary as summary
from vrjax.tasks.puzzles import Item as Item
from vrjax.tasks.puzzles import canonical as canonical
from vrjax.tasks.puzzles import make as make

"""What every paper's experiment is made of.

| module | holds |
| --- | --- |
| `sizes` | how much a study measures (`Study`) |
| `command` | a study's command line (`main`) |
| `seeded` | a whole study of parts and seeds, of what a paper measures and how it judges (`Paper`) |
| `shares` | what one process measures of a study: `--only` some seeds, `--parts` where time is short |
| `tables` | the folder that a killed run resumes (`running`): tables kept by what made them, programs over rows |
| `listing` | tables as rows of numbers, of which text and pictures are made |
| `numbers` | what claims and tables read of kept tables, by name, in `claims.json` and in code alike |
| `marks` | fingerprints of what was trained, for tables that are kept of it |
| `subjects` | who is measured (models, controls and the null model, all as velocities) and on which held-out clips |
| `benchmark` | what a model is given of a benchmark's clip |
| `bills` | what arms cost in forward passes, and how many updates equal compute buys |
| `registration` | `claims.json` of a paper: read, checked, kept with the tables |
| `claims` | what was registered, judged from the tables: intervals, p-values, verdicts |
| `archive` | the tables of a finished run in one small file that is committed with the paper |
| `judging` | `--judge` and `--pack`: a paper's claims again, from kept tables, in seconds |
| `readme` | tables of a README that a command writes and keeps in step |
| `page` | the common page: report, figures and videos of a run |
| `lab` | `vrjax.load`: a model and what it was trained on in one hand; `Sampled`, a clip with every step |

A paper's package is `__main__ config measure… page README`. Its `config.py` derives from `Study`; its command is a
`seeded.Paper`, or where that is too narrow

    def job(study, options, console):
        about, folder = made_of(study, weights=...), options.out / study.name
        asked = registration.read(__file__, seeds=8)
        how = {"kind": "paper", "fresh": options.fresh, "console": console, "registered": asked.keep}
        with running(folder, about, **how) as bench:
            table = bench.part("maze", lambda: trajectories.measure(bench, ...), code=trajectories)
            found = verdicts.claims(study, asked, table)
            page.write(bench.folder, parts.Page(...), figures={"arms": forest})
            claims.tell(console, found)

    def main(argv=None):
        return command.main("paper", __doc__, job, argv, full="eight seeds", judged=verdicts.judged)
"""

from typing import Any

from vrjax.files import named

_file, _names = named.lazy(__name__)
_LAB = ("Lab", "Sampled")


def __getattr__(name: str) -> Any:
    if name not in _LAB:
        return _file(name)
    return getattr(_file("lab"), name)  # brings the models with it; by name, as no study is made of it


def __dir__() -> list[str]:
    return sorted({*_names(), *_LAB})

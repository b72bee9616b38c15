"""What every paper's experiment is made of.

| module | holds |
| --- | --- |
| `command` | a study's sizes (`Study`), its command line (`main`), the folder that a killed run resumes (`running`) |
| `tables` | `Bench`: tables kept by what made them, and one compiled program over many rows |
| `subjects` | who is measured (models, controls and the null model, all as velocities) and on which held-out clips |
| `benchmark` | what a model is given of a benchmark's clip |
| `bills` | what arms cost in forward passes, and how many updates equal compute buys |
| `claims` | `claims.json` of a paper, judged from its tables: intervals, p-values, verdicts |
| `page` | the common page: report, figures and videos of a run |
| `lab` | `vrjax.load`: a model and what it was trained on in one hand; `Sampled`, a clip with every step |

A paper's package is `__main__ config measure… page README`. Its `config.py` derives from `Study`; its command is

    def job(study, options, console):
        about = command.made_of(study, weights=...)
        folder = options.out / study.name
        with command.running(folder, about, kind="paper", fresh=options.fresh, console=console) as here:
            table = here.bench.part("maze", lambda: trajectories.measure(here.bench, ...), code=trajectories)
            found = verdicts.claims(study, table)
            page.write(here.folder, parts.Page(...), figures={"arms": forest})
            claims.tell(console, found)

    def main(argv=None):
        return command.main("paper", __doc__, job, argv, full="five seeds")
"""


def __getattr__(name: str) -> object:
    if name in ("Lab", "Sampled"):  # bring the models with them
        from vrjax.study import lab

        return getattr(lab, name)
    raise AttributeError(f"module 'vrjax.study' has no attribute {name!r}")

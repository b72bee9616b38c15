"""What every paper's experiment is made of.

| module | holds |
| --- | --- |
| `config` | `Study`, the base of every paper's config, and `values`, which reads `configs/<paper>/<size>.py` |
| `command` | the command line of a study: parser, status, and `running`, a run folder that a killed run goes on in |
| `tables` | `Bench`: tables kept by what made them, and one compiled program over many rows |
| `clips` | held-out clips of a task as arrays, and its verifier for whole arrays of estimates |
| `subjects` | who is measured: models, controls and the null model, all as velocities |
| `benchmark` | what a model is given of a benchmark's clip |
| `bills` | what arms cost in forward passes, and how many updates equal compute buys |
| `claims` | what studies say of their claims at the end of a run |
| `page` | the common page: report, figures and videos of a run |
| `lab` | `vrjax.load`: a model and what it was trained on in one hand; `Sampled`, a clip with every step |

A paper's package is `__main__ config measure… page README`. Its `config.py` derives from `Study`; its command is

    def run(study, root, *, fresh, console):
        about = command.made_of(study, weights=...)
        with command.running(root / study.name, about, fresh=fresh, console=console, group=study.group) as here:
            table = here.bench.part("maze", lambda: trajectories.measure(here.bench, ...), code=trajectories)
            found = verdicts.claims(study, table)
            page.write(here.folder, parts.Page(...), figures={"arms": forest})
            here.tell(found)

    def main(argv=None):
        options = command.parser("paper", __doc__, full="five seeds").parse_args(argv)
        job = lambda: run(config.values("paper", options.values), options.out, fresh=options.fresh, console=Console())
        return command.status("paper", job)
"""


def __getattr__(name: str) -> object:
    if name in ("Lab", "Sampled"):  # bring the models with them
        from vrjax.study import lab

        return getattr(lab, name)
    raise AttributeError(f"module 'vrjax.study' has no attribute {name!r}")

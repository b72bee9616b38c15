"""`vrjax plan`: what a run needs of a TPU slice, without one."""

import argparse
import os
import pathlib
from typing import Any

from vrjax.cli.common import add_config, latent_shape, overridden
from vrjax.cli.progress import Phases

NAME, SUMMARY = "plan", "what a run needs of a TPU slice, without one"
TEXT = """\
Compiles a run's real step for a TPU slice that need not be here, and says what it needs of each chip: memory by what it
holds, operations, collectives, and a lower bound in seconds. Know before you queue. Any machine will do; it needs the
libtpu wheel (pip install 'vrjax[plan]') and a minute or two.

A config is a file whose config() returns a TrainConfig (all weights, or LoRA), an AlignConfig or a SampleConfig. Every
field of it can be set on the command line (CONFIG --help-all lists them). TOPOLOGY and LATENT in the file are the
defaults of --topology and --latent.

topologies: v5e:2x2 to v5e:16x16 (15.75 GiB a chip), v6e:2x2 to v6e:16x16 (31.25 GiB), v5p:2x2x1 to v5p:16x16x24 (95.74)

one GPU: gpu:80 (a device of 80 GiB). A SampleConfig is accounted for by shapes and formulas, without compiling; where
it does not fit, recorded steps go to disk, then one of two experts waits in the host's memory.

exit status: 0 the run fits; 1 it does not, and what to change is printed, verified by compiling it; 2 an error

examples:
  vrjax plan configs/pods/wan_1_3b_train.py
  vrjax plan configs/pods/wan_14b_lora.py --topology v5p:2x2x2 --mesh fsdp 2 context 4 --data.batch 2
  vrjax plan configs/chain_of_steps/worlds.py --topology v5e:2x2 --mesh data 4
  vrjax plan configs/pods/wan_a14b_i2v_sample.py --topology gpu:80 --seeds 1
  vrjax plan configs/pods/wan_14b_sample.py --steps 20 --json plan.json --tries 0
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_config(sub)
    sub.add_argument("--topology", help="the slice, such as v5p:4x4x4 (the config file's TOPOLOGY)")
    sub.add_argument(
        "--latent", type=latent_shape, help="t x h x w x c of a clip, such as 21x60x104x16 (the file's LATENT)"
    )
    sub.add_argument("--json", type=pathlib.Path, help="also write the numbers here")
    sub.add_argument("--tries", type=int, default=3, help="compilations to spend on a run that does not fit (3)")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the process computes nothing; it must not look for accelerators
    from vrjax.files import writing
    from vrjax.plan import single
    from vrjax.plan import slices as plans
    from vrjax.report import claims

    config, topology, latent = plans.load(args.config)
    topology, latent = args.topology or topology, args.latent or latent
    if topology is None:
        raise ValueError(f"{args.config} names no TOPOLOGY: choose one by --topology, such as v5e:4x4")
    if args.overrides:
        config = overridden(type(config), config, args.overrides, prog=f"vrjax plan {args.config}")
    alone = single.is_single(topology)
    phase = Phases()
    if alone:
        plan: Any = single.account(config, topology, latent=latent)
    else:
        plan = plans.make(config, topology, latent=latent, phase=phase)
    print(plan.table())
    better = None
    if not plan.fits and args.tries and not alone:
        print(f"\nlooking for a change that fits (at most {args.tries} compilations)")
        better = plans.advise(config, plan, latent=latent, tries=args.tries, phase=phase)
        if better is None:
            print("none was found: take a larger slice, or a smaller batch")
        else:
            changes = "".join(f"\n  {name} = {value!r}" for name, value in better.changes.items())
            print(f"\nit fits with these fields of the config:{changes}\n\n{better.table()}")
    if args.json:
        about = {"kind": "plan", "run": plan.kind, "suggestion": better and better.to_dict()}
        claims.write(args.json, [], details={**plan.to_dict(), **about, "versions": writing.versions()})
    if not plan.fits:
        raise SystemExit(1)

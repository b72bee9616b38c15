"""`vrjax train`: train a config, or go on with it."""

import argparse
import contextlib
import importlib
import os
import pathlib
import sys
import traceback
from typing import NoReturn

from vrjax.cli import usual
from vrjax.cli.common import add_config, cores_for, explained, fail, overridden, positive

NAME, SUMMARY = "train", "train a config, or go on with it"
TEXT = """\
Trains a config to its end, in runs/<name>/. The same command goes on with a killed run, bit for bit.

A config is a Python file with a function config() that returns a TrainConfig. Every field of it can be
set on the command line: `vrjax train CONFIG --help` lists the usual ones, --help-all all of them.

examples:
  vrjax train configs/chain_of_steps/smoke.py
  vrjax train configs/chain_of_steps/worlds.py --name wide --model.dim 96 --optim.lr 2e-3
  vrjax train configs/chain_of_steps/worlds.py --name seed1 --seed 1 --root /data/runs
  vrjax train configs/chain_of_steps/worlds.py --name sharded --mesh data 2 fsdp 2 --accumulate 2
  vrjax train runs/wide/config.json --name again      the config of an earlier run

several processes (a TPU pod slice, GPUs of a cluster): every process runs the same command, the folder --root is
shared by all, and config.mesh spans the devices of all. Killed or preempted? Run it again, on as many or on others.
  TPU slice    on every worker (gcloud ... tpu-vm ssh NAME --worker=all):  vrjax train CONFIG --distributed --root DIR
  Slurm        srun --nodes 4 --ntasks-per-node 8 --gpus-per-node 8 vrjax train CONFIG --distributed --root DIR
  by hand      vrjax train CONFIG --coordinator host0:8476 --processes 2 --process 0        (and --process 1 there)
"""


def add(sub: argparse.ArgumentParser, room: str = "train", text: str = TEXT) -> None:
    """The arguments of a command that trains as `vrjax.<room>.loop` does, which has a `Config` and `run`; `text` is
    its help."""
    add_config(sub)
    sub.set_defaults(room=room, text=text)
    _options(sub)
    several = sub.add_argument_group("several processes", "Each runs this command; see the end of the text above.")
    several.add_argument("--distributed", action="store_true", help="be one process of the TPU slice or Slurm job")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="address of the first process, if not found")
    several.add_argument("--processes", type=positive, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which one this is, from 0")
    several.add_argument(
        "--heartbeat", type=positive, default=60, metavar="S", help="seconds after which a silent one is lost (60)"
    )
    several.add_argument(
        "--wait", type=positive, default=300, metavar="S", help="seconds to wait for the others at the start (300)"
    )


def _options(sub: argparse.ArgumentParser) -> None:
    """Of a run in one process."""
    sub.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    sub.add_argument("--fresh", action="store_true", help="forget an earlier run of this name and start over")
    sub.add_argument(
        "--log", action="append", default=[], choices=("tensorboard", "wandb"), help="log there too (extra `log`)"
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command: a config of the room's kind, in one process or as one of several."""
    from vrjax.parallel import processes
    from vrjax.parallel.mesh import reuse_host_memory
    from vrjax.train import config as configs
    from vrjax.train import loop

    room = importlib.import_module(f"vrjax.{args.room}.loop")
    config = configs.load(args.config, room.Config)
    if args.overrides:
        said = {"prog": f"vrjax {args.command} {args.config}", "description": args.text}
        if asked := {"-h", "--help"} & set(args.overrides):
            config = overridden(type(config), config, [word for word in args.overrides if word not in asked], **said)
            print(usual.text(config, said["prog"], args.text, _options))
            return
        config = overridden(type(config), config, args.overrides, **said)

    together = args.distributed or args.coordinator is not None
    reuse_host_memory()  # before anything is computed: half of a small model's time on CPU was page faults
    if config.mesh and not together:
        cores_for(config.mesh)
    elif together:
        try:
            options = {"heartbeat": args.heartbeat, "wait": args.wait}
            processes.start(args.coordinator, args.processes, args.process, **options)
        except TimeoutError as error:
            _end(error, args.debug)
    try:
        room.run(config, root=args.root, fresh=args.fresh, log=args.log)
    except loop.Stopped as stopped:
        if processes.first():
            print(stopped)
        raise SystemExit(130) from None
    except Exception as error:
        if not together or not processes.several():
            raise
        _end(error, args.debug)


def _end(error: Exception, debug: bool) -> NoReturn:
    """At once: the usual way out waits for the other processes, which may be waiting for this one."""
    if debug or explained(error) is None:
        traceback.print_exception(error)
    with contextlib.suppress(SystemExit):
        fail(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)

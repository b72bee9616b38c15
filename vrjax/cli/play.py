"""`vrjax play`: drive two worlds side by side on a page of this machine."""

import argparse
import pathlib

from vrjax.cli.common import size

NAME, SUMMARY = "play", "drive two worlds side by side, or replay a drive"
TEXT = """\
Serves a page on which one drives: two worlds side by side get the same keys, and the page shows how far they come
apart, in metres and in degrees; how long each takes to step and to draw; and, of a world that samples its frames, what
its denoising steps took the frame for. W, A, S, D or arrows drive, space brakes, R resets.

Worlds are `exact`, the driving world whose rules are known, or a learned one: `drive`, which comes with the package, or
the folder of yours. One of the two is exact, and both begin from its scene; the other is `drive` by default. How far a
learned car has come is read off what it sees. The shipped world follows the exact one for about a second.

A drive is kept in a folder: what was pressed, tick by tick, and digests of all states and frames. --replay drives it
again from that and compares bit for bit; exit status 1 where anything differs.

The page has no password, so it is served to this machine only: any address but loopback is refused.
It needs the package websockets (pip install 'vrjax[play]').

examples:
  vrjax play drive                                 open http://127.0.0.1:8765/: drive beside exact
  vrjax play drive --map crossing --seed 3 --size 96x160
  vrjax play drive --worlds runs/world-drive/world exact   a learned world of yours beside the exact one
  vrjax play drive --replay runs/play-drive
"""
PORT = 8765


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("game", choices=("drive",), help="what is played")
    sub.add_argument("--worlds", nargs=2, metavar=("LEFT", "RIGHT"), help="exact, or learned ones (drive exact)")
    sub.add_argument("--map", help="straight, curve, t or crossing (one is drawn)")
    sub.add_argument("--seed", type=int, help="of the scene and of all chance (0)")
    sub.add_argument(
        "--size", type=size, metavar="HxW", help="pixels of the exact world's frames (the learned one's, else 48x80)"
    )
    sub.add_argument("--dt", type=float, help="seconds of a step (0.1)")
    sub.add_argument("--fps", type=float, help="steps a second; 1/dt is real time (12)")
    sub.add_argument("--host", help="a loopback address (127.0.0.1)")
    sub.add_argument("--port", type=int, help=f"0: any that is free ({PORT})")
    sub.add_argument("--seconds", type=float, help="end after so many (never)")
    sub.add_argument("--out", type=pathlib.Path, help="folder of the drives (runs/play-drive)")
    sub.add_argument("--fresh", action="store_true", help="forget the drives that are in the folder")
    sub.add_argument("--replay", type=pathlib.Path, metavar="FOLDER", help="verify the drives in a folder")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    if args.replay is not None:
        given = [name for name in vars(args) if name in _SERVING and getattr(args, name) not in (None, False)]
        if given:
            raise ValueError(f"--replay takes all from the folder, found --{given[0]} too")
        _replay(args.replay)
        return
    _serve(args)


_SERVING = ("worlds", "map", "seed", "size", "dt", "fps", "host", "port", "seconds", "out", "fresh")


def _replay(folder: pathlib.Path) -> None:
    from vrjax.world import play

    def say(found: play.Replayed) -> None:
        verdict = "equal bit for bit" if found.difference is None else f"DIFFERS at {found.difference}"
        print(f"{found.name}: {found.ticks} ticks, {found.inputs} inputs, {verdict}", flush=True)

    if any(found.difference is not None for found in play.replay(folder, say)):
        raise SystemExit(1)


def _serve(args: argparse.Namespace) -> None:
    import asyncio

    from vrjax.world import learned, play
    from vrjax.world.play import recording, server

    host = server.loopback(args.host or "127.0.0.1")
    if args.seconds is not None and not 0 < args.seconds < float("inf"):
        raise ValueError(f"--seconds must be above 0, found {args.seconds:g}")
    usual = "drive" if "drive" in learned.names() else play.EXACT
    names = tuple(args.worlds or (usual, play.EXACT))
    dt, fps = 0.1 if args.dt is None else args.dt, 12.0 if args.fps is None else args.fps
    session = play.Session(play.open_worlds(names, kind=args.map, size=args.size, dt=dt), args.seed or 0)
    frame = session.sides[names.index(play.EXACT)].world.frame
    options = {"kind": args.map, "size": list(frame[:2]), "dt": dt}
    note = f"steps of {dt:g} s, {fps:g} a second: {fps * dt:.2g} times real time"
    if set(names) == {play.EXACT}:
        note += "; no learned world was given (--worlds FILE exact): both are exact and stay together"
    print(note)
    out = args.out or pathlib.Path("runs") / "play-drive"
    with play.Recording(out, recording.config(session, names, options), fresh=args.fresh) as kept:
        serving = server.Server(
            session, kept, host=host, port=PORT if args.port is None else args.port, fps=fps, note=note,
            title=f"vrjax play drive: {names[0]} beside {names[1]}",
        )  # fmt: skip
        print("compiling both worlds ...", flush=True)
        ready = lambda on: print(f"drive at {on.address} (Ctrl-C ends); drives are kept in {out}", flush=True)
        try:
            asyncio.run(serving.serve(args.seconds, ready))
        except KeyboardInterrupt:
            print()
        print(f"drives: {serving.drives}; vrjax play drive --replay {out} verifies them")

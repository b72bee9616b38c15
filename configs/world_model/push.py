"""The pushing world, learned: frame by frame, two denoising steps each, from films that are drawn on the fly.

Command:        vrjax learn configs/world_model/push.py
Expected time:  36 minutes of one quiet core (3 updates a second), of which two are for the reader and the measuring;
                the one run took 55 beside others' work
Expected score: the table of `vrjax/world/learned/weights/push/README.md` (seed 0): the agent is 0.11 pixels off after
                one step and 0.23 after six, the block 0.07 and 0.17. In the steps of plans in which the block moves it
                is 0.20 off after one step and 0.44 after six: of 600 updates without shoves 0.44 and 1.18, of 600 with
                shoves 0.34 and 1.01. Planned through it (`experiments/world_model`, 16 pilot layouts) the block came
                home as often as through the exact world: CEM with a plan for every step 16 times of 16, with three
                actions of each of fewer candidates 10 of 16

The shipped weights, and all of these numbers, are of films whose blocks were shoved along ways that were drawn and so
lay at the edges; films are others now (`experiments/world_model/tuning.md`), and the same command learns from those.

One block, no walls, no slips. Frames are 4 tokens of 96 components. What decided, one seed each, after 600 updates:
that errors are counted by frame and the memory is shown with little noise (0.15 of it hide where things are within a
pixel), and that the network predicts the change of the frame before. Squares of 8 pixels learn as well as squares of 4,
in half of the time.
"""

from vrjax.models.causal import CausalConfig
from vrjax.train.config import Checkpoint, Data, Objective, Optim
from vrjax.world.learned import Spec
from vrjax.world.learned.train import WorldConfig


def config() -> WorldConfig:
    """The config of the run."""
    return WorldConfig(
        name="world-push",
        model=CausalConfig(
            dim=128,
            ffn_dim=384,
            heads=4,
            layers=4,
            in_channels=96,
            out_channels=96,
            patch=(1, 1, 1),
            freq_dim=64,
            text_len=0,
            action=2,
            chunk=1,
            window=3,
            positions="relative",
            previous=True,
            predicts="change",
            attention="xla",
            unroll=True,
            gate_init=1.0,
        ),
        spec=Spec(world="push", options=(("blocks", 1), ("walls", 0)), moving=("agent", "blocks"), still=("goal",)),
        steps=12_000,
        frames=6,
        context=0.03,
        counts="frame",
        patch=8,
        objective=Objective(shift=4.0, drop=0.0, low=0.08),
        data=Data(batch=32),
        optim=Optim(warmup=50),
        checkpoint=Checkpoint(every=100),
        measured=1024,
    )

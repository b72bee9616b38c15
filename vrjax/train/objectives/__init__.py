"""What is minimised, and at which noise levels; every name is a pure function.

| file | what |
| --- | --- |
| `flow` | flow matching: the error of a velocity on one example |
| `levels` | noise levels of a batch, stratified and shifted |
| `conditions` | condition dropout |
| `teacher_forcing`, `diffusion_forcing` | errors of a causal network on whole videos, beside clean frames or without |
| `self_forcing` | videos that a causal network rolls out itself, with a gradient through one step of each chunk |
| `dmd` | distribution matching distillation: generator and critic |
| `weights` | what counts how much: padding, channels, noise levels |
"""

from vrjax.train.objectives.conditions import drop as drop
from vrjax.train.objectives.diffusion_forcing import diffusion_forcing as diffusion_forcing
from vrjax.train.objectives.dmd import dmd as dmd
from vrjax.train.objectives.dmd import dmd_direction as dmd_direction
from vrjax.train.objectives.dmd import fake_error as fake_error
from vrjax.train.objectives.flow import Draw as Draw
from vrjax.train.objectives.flow import flow_error as flow_error
from vrjax.train.objectives.flow import flow_matching as flow_matching
from vrjax.train.objectives.flow import noisy as noisy
from vrjax.train.objectives.flow import zero_velocity_error as zero_velocity_error
from vrjax.train.objectives.levels import is_number as is_number
from vrjax.train.objectives.levels import level_of as level_of
from vrjax.train.objectives.levels import of_frames as of_frames
from vrjax.train.objectives.levels import sample_chunk_sigmas as sample_chunk_sigmas
from vrjax.train.objectives.levels import sample_sigmas as sample_sigmas
from vrjax.train.objectives.levels import shift_sigma as shift_sigma
from vrjax.train.objectives.levels import stratified_uniform as stratified_uniform
from vrjax.train.objectives.self_forcing import Rolled as Rolled
from vrjax.train.objectives.self_forcing import self_forcing as self_forcing
from vrjax.train.objectives.teacher_forcing import teacher_forcing as teacher_forcing
from vrjax.train.objectives.weights import channel_weights as channel_weights
from vrjax.train.objectives.weights import example_weights as example_weights
from vrjax.train.objectives.weights import level_weight as level_weight

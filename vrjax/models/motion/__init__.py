"""ViMoGen: a diffusion transformer of human motion, told by text or by a reference motion.

| what | modules |
| --- | --- |
| the network | `dit` (`MotionDiT`), `config` (`MotionConfig`), `blocks`; `family`, the protocol's answers |
| files | `readers` (`load_dit`, `save_dit`), `report`; `start` from Wan's weights |
| sampling | `sampling`: texts of one length; the noise grid is `vrjax.flow.grids.vimogen` |
"""

from vrjax.files import named
from vrjax.models.motion.config import MotionConfig
from vrjax.models.motion.dit import MotionDiT, abstract, init
from vrjax.models.motion.family import logical_axes
from vrjax.models.motion.readers import load_dit, save_dit
from vrjax.models.motion.report import Report
from vrjax.models.motion.sampling import padded
from vrjax.models.motion.start import from_wan

__all__ = [
    "MotionConfig",
    "MotionDiT",
    "Report",
    "abstract",
    "from_wan",
    "init",
    "load_dit",
    "logical_axes",
    "padded",
    "save_dit",
]

__getattr__, __dir__ = named.lazy(__name__)

"""MiniDrive: a driving world that is exact, as pure JAX. Knows no model.

    state = drive.make(key)                                 # of a random kind, or kind="crossing"
    state = drive.step(state, action, dt=0.1)               # (acceleration, steering)
    six = drive.cameras(48, 80)
    views = drive.render(state, six)                        # rgb, depth, instance, semantic, flow
    after = drive.step(state, action)
    flow = drive.render(state, six, after=after).flow       # in pixels, exact
    drive.collisions(state).any, drive.on_road(state)
    above = drive.raster(state, 64, 80.0)                   # drivable area, lanes, route, boxes by class

Everything is written for one world: `jax.jit`, `jax.vmap` over worlds, `jax.lax.scan` over time. World and ego axes are
x forward, y left, z up; metres, radians, seconds, 10 steps a second. All randomness comes from the state's key and none
of it depends on what the ego does, so two runs with one key and different actions are a counterfactual pair.

| module | what is in it |
| --- | --- |
| `arcs` | arcs in the plane, straight lines included |
| `roads` | the surface: pieces of constant curvature and a junction, the drivable area in closed form |
| `lanes` | the lane graph: polylines, successors with probabilities, signals |
| `maps` | the four kinds: straight, curve, T junction, crossing |
| `state` | what a world holds at one moment; names of labels |
| `worlds` | drawing a world |
| `dynamics` | the bicycle and the intelligent driver model |
| `boxes` | overlap, corners, collisions, being on the road |
| `traffic` | vehicles and pedestrians, and what is random in them |
| `stepping` | one step of everything |
| `cameras` | six pinhole cameras, their rays, projection |
| `texture` | colours of ground, boxes and sky |
| `render` | what the cameras see |
| `raster` | the world from above |
"""

from vrjax.drive.boxes import Collisions, collisions, corners, ego_box, on_road, overlap
from vrjax.drive.cameras import Cameras, cameras, extrinsics, project
from vrjax.drive.dynamics import IDM, WHEELBASE, bicycle, idm
from vrjax.drive.maps import KINDS
from vrjax.drive.raster import LAYERS, raster
from vrjax.drive.render import Views, render
from vrjax.drive.state import EGO_SIZE, SEMANTIC, State, route
from vrjax.drive.stepping import step
from vrjax.drive.worlds import make

__all__ = [
    "EGO_SIZE",
    "IDM",
    "KINDS",
    "LAYERS",
    "SEMANTIC",
    "WHEELBASE",
    "Cameras",
    "Collisions",
    "State",
    "Views",
    "bicycle",
    "cameras",
    "collisions",
    "corners",
    "ego_box",
    "extrinsics",
    "idm",
    "make",
    "on_road",
    "overlap",
    "project",
    "raster",
    "render",
    "route",
    "step",
]

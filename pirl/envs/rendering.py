"""Draws a simulation's cameras: the same pixels as robosuite's renderer, when asked and not at every step.

One GL context serves all tasks of a process. Geoms whose bounding sphere lies outside a camera's view are
left out: they have no pixel, and the software renderer's time goes into vertices.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

# Everything that MuJoCo's drawing reads from the state.
POSES = (
    "xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat",
    "cam_xpos", "cam_xmat", "light_xpos", "light_xdir",
)  # fmt: skip
# Group 0 holds collision shapes.
VISUAL_GROUPS = [1, 2]
HIDDEN_GROUP = mujoco.mjNGROUP - 1
MAX_GEOMS = 1000
PLANE = mujoco.mjtGeom.mjGEOM_PLANE

_renderers: weakref.WeakSet[Renderer] = weakref.WeakSet()
_gl_context: Any = None


class Poses:
    """What a picture shows, as of the moment it was noted."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._live = {name: getattr(data, name) for name in POSES}
        self._live_site_rgba = model.site_rgba
        self.values = {name: np.array(value) for name, value in self._live.items()}
        # Sites are switched on and off, such as a stove's burner.
        self.site_rgba = np.array(model.site_rgba)

    def note(self) -> None:
        """Take over the present values."""
        for name, value in self._live.items():
            self.values[name][:] = value
        self.site_rgba[:] = self._live_site_rgba


class Renderer:
    """Draws the cameras of one model, from noted poses."""

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        height: int,
        width: int,
    ) -> None:
        """Upload the model's meshes and textures.

        Args:
            model: compiled model; later changes to its meshes and textures are not seen.
            cameras: names, in the order of `draw`'s result.
            height: of the images, pixels.
            width: of the images, pixels.

        Raises:
            RuntimeError: when there is no GL.
        """
        _make_gl_current()
        self._model = model
        self._cameras = [model.camera(name).id for name in cameras]
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._group = model.geom_group.copy()
        self._mirrors = _mirrors(model)
        # Only poses are put into this state; it is never stepped.
        self._posed = mujoco.MjData(model)
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[VISUAL_GROUPS] = 1
        self._perturbation = mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        _renderers.add(self)

    def draw(self, poses: Poses) -> list[np.ndarray]:
        """Images, one per camera, uint8 [H, W, 3], rows from the bottom up."""
        for name, value in poses.values.items():
            getattr(self._posed, name)[:] = value
        _make_gl_current()
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        return [self._draw_one(camera, poses.site_rgba) for camera in self._cameras]

    def close(self) -> None:
        """Free what lies in the renderer's memory."""
        if self._context is not None:
            _make_gl_current()
            self._context.free()
            self._context = None
        _renderers.discard(self)

    def _draw_one(self, camera: int, site_rgba: np.ndarray) -> np.ndarray:
        model = self._model
        self._camera.fixedcamid = camera
        present_site_rgba = model.site_rgba.copy()
        model.site_rgba[:] = site_rgba
        model.geom_group[:] = np.where(self._in_view(camera), self._group, HIDDEN_GROUP)
        mujoco.mjv_updateScene(
            model,
            self._posed,
            self._options,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        model.geom_group[:] = self._group
        model.site_rgba[:] = present_site_rgba
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        image = np.empty((self._viewport.height, self._viewport.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._viewport, self._context)
        return image

    def _in_view(self, camera: int) -> np.ndarray:
        """Which geoms the camera can see, directly or mirrored by a reflecting plane or box; bool [ngeom]."""
        model, posed = self._model, self._posed
        seen = self._touches_view(camera, posed.geom_xpos)
        for mirror in self._mirrors[seen[self._mirrors]]:
            normal = posed.geom_xmat[mirror].reshape(3, 3)[:, 2]
            height = 0.0 if model.geom_type[mirror] == PLANE else model.geom_size[mirror, 2]
            distance = (posed.geom_xpos - posed.geom_xpos[mirror]) @ normal - height
            seen |= self._touches_view(camera, posed.geom_xpos - 2 * distance[:, None] * normal)
        return seen

    def _touches_view(self, camera: int, centres: np.ndarray) -> np.ndarray:
        """Whether the geoms' bounding spheres, put at `centres`, touch the pyramid of view; bool [ngeom]."""
        model, posed = self._model, self._posed
        right, up, back = ((centres - posed.cam_xpos[camera]) @ posed.cam_xmat[camera].reshape(3, 3)).T
        radii = model.geom_rbound * 1.001 + 1e-4
        half_height = np.deg2rad(model.cam_fovy[camera]) / 2
        half_width = np.arctan(np.tan(half_height) * self._viewport.width / self._viewport.height)
        touches = -back > -radii
        for offset, angle in ((np.abs(right), half_width), (np.abs(up), half_height)):
            touches &= offset * np.cos(angle) + back * np.sin(angle) < radii
        return touches | (model.geom_rbound == 0)  # planes have no bound


def _mirrors(model: mujoco.MjModel) -> np.ndarray:
    """Visible geoms in which MuJoCo shows reflections: planes and upper faces of boxes."""
    reflects = np.where(model.geom_matid >= 0, model.mat_reflectance[model.geom_matid], 0.0) > 0
    flat = (model.geom_type == PLANE) | (model.geom_type == mujoco.mjtGeom.mjGEOM_BOX)
    return np.flatnonzero(reflects & flat & np.isin(model.geom_group, VISUAL_GROUPS))


def _make_gl_current() -> None:
    """Make the process's GL context current, creating it when first needed.

    Raises:
        RuntimeError: when there is no GL.
    """
    global _gl_context
    if _gl_context is None:
        backend = os.environ.get("MUJOCO_GL", "egl")
        try:
            if backend == "osmesa":
                from mujoco.osmesa import GLContext
            elif backend in ("glfw", "glx"):
                from mujoco.glfw import GLContext
            else:
                from mujoco.egl import GLContext
            _gl_context = GLContext(640, 480)
        except Exception as error:
            raise RuntimeError(
                f"no GL context (MUJOCO_GL={backend}): {error}; run `pirl-doctor`, which says what to install"
            ) from error
        # Freed before the GL library's own exit handler runs: otherwise it complains at exit.
        atexit.register(_free_gl)
    _gl_context.make_current()


def _free_gl() -> None:
    global _gl_context
    with contextlib.suppress(Exception):
        for renderer in list(_renderers):
            renderer.close()
        _gl_context.free()
    _gl_context = None

"""One LIBERO task in one process: robosuite's own physics, without its wasted work.

Stock LeRobot renders every camera at every control step and repeats forward dynamics three times in each of
the 25 physics steps. Here a control step is `mj_step1`, robosuite's controller, `mj_step2`, and cameras are
drawn when somebody looks. `exact` keeps the result bit for bit: robosuite samples its observables in the last
but one physics step, so the poses of that moment are kept, and drawn from when needed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import mujoco
import numpy as np

from pirl.envs.assets import configure_libero
from pirl.envs.initial_states import load_official_states, place
from pirl.envs.starts import Start
from pirl.envs.tasks import LiberoTask, get_task

Fidelity = Literal["exact", "fast"]
ControlMode = Literal["relative", "absolute"]
ACTION_DIM = 7
SETTLE_ACTION = np.array([0.0] * 6 + [-1.0])
IMAGE_NAMES = {"agentview": "image", "robot0_eye_in_hand": "image2"}
# What MuJoCo draws from: poses computed before the physics step moves on.
DRAWN_ARRAYS = (
    "xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat",
    "cam_xpos", "cam_xmat", "light_xpos", "light_xdir",
)  # fmt: skip


class LiberoSimulation:
    """One task, one process, one GL context."""

    def __init__(
        self,
        suite: str,
        task_id: int,
        *,
        cameras: Sequence[str] = ("agentview", "robot0_eye_in_hand"),
        height: int = 256,
        width: int = 256,
        fidelity: Fidelity = "exact",
        control_mode: ControlMode = "relative",
        settle_steps: int = 10,
    ) -> None:
        """Build the task's model and renderer.

        Args:
            suite: LIBERO suite.
            task_id: task of the suite.
            cameras: those that `observe` draws, of `agentview` and `robot0_eye_in_hand`.
            height: of the images, pixels.
            width: of the images, pixels.
            fidelity: `exact` equals stock LeRobot bit for bit; `fast` draws without multisampling and reads
                states at the end of a control step.
            control_mode: of robosuite's OSC_POSE controller.
            settle_steps: no-op control steps after a reset, as in LeRobot.

        Raises:
            ValueError: on an unknown suite, task, camera, fidelity or control mode.
        """
        for name, value, allowed in (
            ("fidelity", fidelity, get_args(Fidelity)),
            ("control_mode", control_mode, get_args(ControlMode)),
            *(("cameras", camera, tuple(IMAGE_NAMES)) for camera in cameras),
        ):
            if value not in allowed:
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        self.task: LiberoTask = get_task(suite, task_id)
        self._cameras = tuple(cameras)
        self._exact = fidelity == "exact"
        self._settle_steps = settle_steps
        self._use_delta = control_mode == "relative"
        self._official_states = load_official_states(self.task)
        self._wrapper = _build(self.task, self._cameras, height, width)
        self.robosuite_env: Any = self._wrapper.env
        self._draw = self._make_cameras_lazy(height, width)
        self._substeps = round(self.robosuite_env.control_timestep / self.robosuite_env.model_timestep)
        self._poses: dict[str, np.ndarray] = {}
        if not self._exact:
            self._simplify_rendering()

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model."""
        return self.robosuite_env.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        """The simulation's state."""
        return self.robosuite_env.sim.data._data

    @property
    def num_official_states(self) -> int:
        """How many official initial states the task has."""
        return len(self._official_states)

    def reset(self, start: Start) -> None:
        """Put the task into an initial state and let it settle; draws nothing.

        Raises:
            ValueError: when an official index is out of range.
        """
        if start.kind == "official" and start.index >= self.num_official_states:
            raise ValueError(
                f"{self.task.suite} task {self.task.task_id} has official states 0 to "
                f"{self.num_official_states - 1}, not {start.index}"
            )
        env = self.robosuite_env
        # A soft reset keeps the gripper's last command, which a hard reset clears.
        env.robots[0].gripper.current_action = np.zeros(1)
        for robot in env.robots:
            robot.controller.use_delta = True
        np.random.seed(start.seed % 2**32)
        self._wrapper.reset()
        place(self._wrapper, start, self._official_states, self._settle)
        for robot in env.robots:
            robot.controller.use_delta = self._use_delta

    def step(self, action: np.ndarray) -> bool:
        """Advance one control step of 50 ms; draws nothing.

        Args:
            action: 7 values, OSC_POSE and gripper.

        Returns:
            Whether the task's goal holds.

        Raises:
            ValueError: on a wrong shape or a value that is not finite.
        """
        action = np.asarray(action)
        if action.shape != (ACTION_DIM,):
            raise ValueError(f"action: expected shape ({ACTION_DIM},), got {action.shape}")
        if not np.isfinite(action).all():
            raise ValueError(f"action: holds NaN or infinity: {action}")
        env = self.robosuite_env
        model, data = self.model, self.data
        env.timestep += 1
        with self._without_repeated_dynamics():
            for substep in range(self._substeps):
                mujoco.mj_step1(model, data)
                env._pre_action(action, substep == 0)
                mujoco.mj_step2(model, data)
                if self._exact:
                    env._update_observables()
        env.cur_time += env.control_timestep
        env._post_action(action)
        env.done = False  # episodes end by success or by the caller's cap, not by robosuite's horizon
        if not self._exact:
            self._poses.clear()
        return bool(env._check_success())

    def observe(self, images: bool = True) -> dict[str, Any]:
        """The observation in stock `LiberoEnv` format (`pixels_agent_pos`), drawing the cameras if asked."""
        env = self.robosuite_env
        if not self._exact and not self._poses:
            mujoco.mj_forward(self.model, self.data)
            env._update_observables(force=True)
        values = env._get_observations()
        return {
            "pixels": self._draw_images() if images else {},
            "robot_state": {
                "eef": {
                    "pos": values["robot0_eef_pos"],
                    "quat": values["robot0_eef_quat"],
                    "mat": env.robots[0].controller.ee_ori_mat,
                },
                "gripper": {"qpos": values["robot0_gripper_qpos"], "qvel": values["robot0_gripper_qvel"]},
                "joints": {"pos": values["robot0_joint_pos"], "vel": values["robot0_joint_vel"]},
            },
        }

    def close(self) -> None:
        """Free the renderer and the model."""
        with contextlib.suppress(Exception):  # GL may be gone already at interpreter exit
            self._wrapper.close()

    def _settle(self) -> None:
        for _ in range(self._settle_steps):
            self.step(SETTLE_ACTION)

    def _make_cameras_lazy(self, height: int, width: int) -> dict[str, Callable[[dict], np.ndarray]]:
        """Replace each camera's sensor by one that only notes the poses; the observables' clock is untouched.

        Returns:
            The original sensors, which draw from the poses in `data`.
        """
        placeholder = np.zeros((height, width, 3), dtype=np.uint8)

        def note_poses(_: dict) -> np.ndarray:
            self._poses = {name: np.array(getattr(self.data, name)) for name in DRAWN_ARRAYS}
            return placeholder

        originals = {}
        for position, camera in enumerate(self._cameras):
            observable = self.robosuite_env._observables[f"{camera}_image"]
            originals[camera] = observable._sensor
            replacement = note_poses if position == 0 else lambda _: placeholder
            replacement.__modality__ = observable._sensor.__modality__  # type: ignore[attr-defined]
            observable._sensor = replacement
        return originals

    def _draw_images(self) -> dict[str, np.ndarray]:
        present = {name: np.array(getattr(self.data, name)) for name in self._poses}
        for name, value in self._poses.items():
            getattr(self.data, name)[:] = value
        images = {IMAGE_NAMES[camera]: np.array(self._draw[camera]({})) for camera in self._cameras}
        for name, value in present.items():
            getattr(self.data, name)[:] = value
        return images

    @contextlib.contextmanager
    def _without_repeated_dynamics(self) -> Iterator[None]:
        """`mj_step1` has just done what the controller's `sim.forward()` would repeat."""
        simulator = self.robosuite_env.sim
        simulator.forward = lambda: None
        try:
            yield
        finally:
            del simulator.forward

    def _simplify_rendering(self) -> None:
        """Draw without multisampling."""
        context = self.robosuite_env.sim._render_context_offscreen
        self.model.vis.quality.offsamples = 0
        context.con.free()
        context._set_mujoco_context_and_buffers()


def _build(task: LiberoTask, cameras: tuple[str, ...], height: int, width: int) -> Any:
    configure_libero()
    with contextlib.redirect_stdout(io.StringIO()):
        from libero.libero.envs import OffScreenRenderEnv

        return OffScreenRenderEnv(
            bddl_file_name=task.bddl_file,
            camera_names=list(cameras),
            camera_heights=height,
            camera_widths=width,
            control_freq=20,
            hard_reset=False,
        )

"""One LIBERO task in one process: robosuite's own physics, without its wasted work.

Stock LeRobot renders every camera at every control step and repeats forward dynamics three times in each of
the 25 physics steps. Here a physics step is `mj_step1`, the controller, `mj_step2`; cameras are drawn when
somebody looks, and drawn from the poses of the moment at which robosuite's observables would have sampled.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Sequence
from typing import Any, Literal, get_args

import mujoco
import numpy as np

from pirl.envs.assets import configure_libero
from pirl.envs.control import CompiledControl, ExactControl
from pirl.envs.initial_states import load_official_states, place
from pirl.envs.meshes import simplify_visuals
from pirl.envs.rendering import Poses, Renderer
from pirl.envs.sensing import RobotSensors, SamplingClock
from pirl.envs.starts import Start
from pirl.envs.tasks import LiberoTask, get_task

Fidelity = Literal["exact", "fast"]
ControlMode = Literal["relative", "absolute"]
ACTION_DIM = 7
SETTLE_ACTION = np.array([0.0] * 6 + [-1.0])
IMAGE_NAMES = {"agentview": "image", "robot0_eye_in_hand": "image2"}
CONTROL_RATE = 20
STOCK_BUILDS = 3
MAX_DRAWS = 10


class LiberoSimulation:
    """One task, one process; the renderer is made when first looked through."""

    def __init__(
        self,
        suite: str,
        task_id: int,
        *,
        cameras: Sequence[str] = tuple(IMAGE_NAMES),
        height: int = 256,
        width: int = 256,
        fidelity: Fidelity = "exact",
        control_mode: ControlMode = "relative",
        settle_steps: int = 10,
    ) -> None:
        """Build the task's model.

        Args:
            suite: LIBERO suite.
            task_id: task of the suite.
            cameras: those that `observe` draws, of `agentview` and `robot0_eye_in_hand`.
            height: of the images, pixels.
            width: of the images, pixels.
            fidelity: `exact` equals stock LeRobot bit for bit; `fast` computes the controller up to rounding
                and draws simpler meshes without multisampling.
            control_mode: of robosuite's OSC_POSE controller.
            settle_steps: no-op control steps after a reset, as in LeRobot.

        Raises:
            ValueError: on an unknown suite, task, camera, fidelity or control mode, or an impossible size.
        """
        for name, value, allowed in (
            ("fidelity", fidelity, get_args(Fidelity)),
            ("control_mode", control_mode, get_args(ControlMode)),
            *(("cameras", camera, tuple(IMAGE_NAMES)) for camera in cameras),
        ):
            if value not in allowed:
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        if min(height, width) < 1 or settle_steps < 0:
            raise ValueError(f"height {height}, width {width}, settle_steps {settle_steps}: too small")
        self.task: LiberoTask = get_task(suite, task_id)
        self._cameras = tuple(cameras)
        self._image_size = (height, width)
        self._exact = fidelity == "exact"
        self._settle_steps = settle_steps
        self._use_delta = control_mode == "relative"
        self._official_states = load_official_states(self.task)
        self._wrapper = _build(self.task)
        _give_freed_memory_back()
        self.robosuite_env: Any = self._wrapper.env
        # Stock LiberoEnv rebuilds its model twice before its first episode and each time adds its samplers of
        # joints (open drawers) to those there; the random numbers they draw come before the fixtures' poses.
        self.robosuite_env.object_property_initializers *= STOCK_BUILDS
        if not self._exact:
            simplify_visuals(self.model)
        # Nobody reads MuJoCo's force sensors, which cost more than they look.
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR
        self._fixture_homes = _fixture_homes(self.robosuite_env)
        self._control = (ExactControl if self._exact else CompiledControl)(self.robosuite_env)
        self._sensors = RobotSensors(self.robosuite_env)
        self._clock = SamplingClock(self.robosuite_env.model_timestep)
        self._substeps = int(self.robosuite_env.control_timestep / self.robosuite_env.model_timestep)
        self._poses = Poses(self.model, self.data)
        self._renderer: Renderer | None = None
        self._hand_rotation = np.eye(3)

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
            RuntimeError: when no valid state is found.
        """
        if start.kind == "official" and start.index >= self.num_official_states:
            raise ValueError(
                f"{self.task.suite} task {self.task.task_id} has official states 0 to "
                f"{self.num_official_states - 1}, not {start.index}"
            )
        robot = self.robosuite_env.robots[0]
        np.random.seed(start.seed % 2**32)
        for _ in range(MAX_DRAWS):
            self._restart()
            if place(self._wrapper, start, self._official_states, self._settle):
                break
        else:
            raise RuntimeError(
                f"{self.task.suite} task {self.task.task_id}, {start}: no valid state in {MAX_DRAWS} draws"
            )
        robot.controller.use_delta = self._use_delta
        if self._settle_steps == 0:
            self._sample()
            self._hand_rotation = robot.controller.ee_ori_mat

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
        model, data = self.model, self.data
        for substep in range(self._substeps):
            mujoco.mj_step1(model, data)
            self._control.substep(action, substep == 0)
            mujoco.mj_step2(model, data)
            if self._clock.tick():
                self._sample()
        self._hand_rotation = self._sensors.hand_rotation()
        # Lights the stove's burner and the like.
        self.robosuite_env._post_process()
        return bool(self.robosuite_env._check_success())

    def observe(self, images: bool = True) -> dict[str, Any]:
        """The observation in stock `LiberoEnv` format (`pixels_agent_pos`), drawing the cameras if asked.

        Raises:
            RuntimeError: when images are asked for and there is no GL.
        """
        values = self._sensors.values
        return {
            "pixels": self._draw() if images else {},
            "robot_state": {**values, "eef": {**values["eef"], "mat": self._hand_rotation}},
        }

    def look(self) -> dict[str, Any]:
        """The observation of a state that was set from outside, not stepped to."""
        self._sample()
        self._hand_rotation = self._sensors.hand_rotation()
        return self.observe()

    def close(self) -> None:
        """Free the renderer and the model."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._wrapper.close()

    def _restart(self) -> None:
        """robosuite's soft reset, made equal to a hard one."""
        # What a hard reset clears and a soft one keeps: the gripper's last command and the fixtures' places,
        # from which LIBERO's samplers reckon where things on a fixture stand.
        self.robosuite_env.robots[0].gripper.current_action = np.zeros(1)
        for body, (position, rotation) in self._fixture_homes.items():
            self.model.body_pos[body] = position
            self.model.body_quat[body] = rotation
        self._wrapper.reset()
        self._control.attach()
        self._clock.reset()

    def _settle(self) -> None:
        for _ in range(self._settle_steps):
            self.step(SETTLE_ACTION)

    def _sample(self) -> None:
        self._sensors.sample()
        self._poses.note()

    def _draw(self) -> dict[str, np.ndarray]:
        if self._renderer is None:
            self._renderer = Renderer(self.model, self._cameras, *self._image_size)
        images = self._renderer.draw(self._poses)
        return {IMAGE_NAMES[camera]: image for camera, image in zip(self._cameras, images, strict=True)}


def _build(task: LiberoTask) -> Any:
    """LIBERO's environment without a renderer of its own."""
    configure_libero()
    with contextlib.redirect_stdout(io.StringIO()):
        from libero.libero.envs.env_wrapper import ControlEnv

        return ControlEnv(
            bddl_file_name=task.bddl_file,
            use_camera_obs=False,
            has_offscreen_renderer=False,
            control_freq=CONTROL_RATE,
            hard_reset=False,
        )


def _give_freed_memory_back() -> None:
    """Return to the system what building a scene has freed, some 200 MiB that glibc would keep."""
    with contextlib.suppress(OSError, AttributeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)


def _fixture_homes(environment: Any) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Fixtures' poses as compiled, before a reset places them: body -> position, quaternion."""
    homes = {}
    for fixture in environment.fixtures_dict.values():
        element = fixture.get_obj()
        position = np.array(element.get("pos", "0 0 0").split(), dtype=float)
        rotation = np.array(element.get("quat", "1 0 0 0").split(), dtype=float)
        body = environment.sim.model.body_name2id(fixture.root_body)
        homes[body] = position, rotation / np.linalg.norm(rotation)
    return homes

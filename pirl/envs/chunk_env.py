"""A Gymnasium environment that steps whole chunks of actions and serves several LIBERO tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pirl.envs.scene_state import SceneState
from pirl.envs.simulation import ACTION_DIM, IMAGE_NAMES, LiberoSimulation
from pirl.envs.starts import Start
from pirl.envs.tasks import get_task

Task = tuple[str, int]
STATE_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "eef": {"pos": (3,), "quat": (4,), "mat": (3, 3)},
    "gripper": {"qpos": (2,), "qvel": (2,)},
    "joints": {"pos": (7,), "vel": (7,)},
}


class LiberoChunkEnv(gym.Env):
    """Executes up to `chunk_size` control steps per call, then observes once.

    `terminated` means success, `truncated` the step cap; a chunk ends early at either. Each task's simulation
    is built when first needed and kept.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        chunk_size: int,
        max_steps: int | None = None,
        kept: int | None = None,
        scene_state: bool = False,
        **simulation_settings: Any,
    ) -> None:
        """Describe the environment; nothing is built yet.

        Args:
            tasks: (suite, task id) pairs that `reset` may be asked for; the first is the default.
            chunk_size: most control steps per call of `step`.
            max_steps: episode cap in control steps; null takes each suite's own.
            kept: simulations that stay built, half a gigabyte each; the least recently used makes room. None
                keeps all.
            scene_state: whether `info` brings the simulator's own view, `scene_state` float32 [SCENE_DIM].
            simulation_settings: passed to `LiberoSimulation`.
        """
        if not tasks:
            raise ValueError("tasks: name at least one (suite, task id)")
        for suite, task_id in tasks:
            get_task(suite, task_id)
        self._tasks = list(tasks)
        self._chunk_size = chunk_size
        self._max_steps = max_steps
        self._kept = kept or len(self._tasks)
        self._settings = simulation_settings
        self._with_scene_state = scene_state
        self._simulations: dict[Task, LiberoSimulation] = {}
        self._simulation: LiberoSimulation | None = None
        self._scene_state: SceneState | None = None
        self._env_steps = 0
        height, width = simulation_settings.get("height", 256), simulation_settings.get("width", 256)
        cameras = simulation_settings.get("cameras", tuple(IMAGE_NAMES))
        image = spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Dict({IMAGE_NAMES[camera]: image for camera in cameras}),
                "robot_state": spaces.Dict(
                    {
                        part: spaces.Dict(
                            {
                                key: spaces.Box(-np.inf, np.inf, shape, np.float64)
                                for key, shape in shapes.items()
                            }
                        )
                        for part, shapes in STATE_SHAPES.items()
                    }
                ),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (chunk_size, ACTION_DIM), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seeds Gymnasium's generator, from which a start is drawn when `options` names none.
            options: `task`: (suite, task id); `start`: a `Start`.
        """
        super().reset(seed=seed)
        options = options or {}
        task = tuple(options.get("task", self._tasks[0]))
        start = options.get("start") or Start("sampled", seed=int(self.np_random.integers(2**31)))
        self._simulation = self._open(task)
        self._scene_state = SceneState(self._simulation) if self._with_scene_state else None
        self._simulation.reset(start)
        self._env_steps = 0
        info = {"task": task, "start": start.to_dict(), "is_success": False, "env_steps": 0}
        return self._simulation.observe(), info | self._privileged()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Execute a chunk [n, 7] with 1 <= n <= chunk_size; stops at success or at the cap.

        Raises:
            ValueError: on a wrong shape or a value that is not finite.
            RuntimeError: before the first reset.
        """
        if self._simulation is None:
            raise RuntimeError("step before reset: call reset first")
        actions = np.asarray(action)
        if actions.ndim != 2 or actions.shape[1] != ACTION_DIM or not 1 <= len(actions) <= self._chunk_size:
            raise ValueError(
                f"actions: expected shape (1 to {self._chunk_size}, {ACTION_DIM}), got {actions.shape}"
            )
        if not np.isfinite(actions).all():
            raise ValueError(f"actions: holds NaN or infinity: {actions}")
        limit = self._max_steps or self._simulation.task.max_steps
        success, executed = False, 0
        for single in actions:
            success = self._simulation.step(single)
            executed += 1
            self._env_steps += 1
            if success or self._env_steps >= limit:
                break
        truncated = not success and self._env_steps >= limit
        info = {
            "executed_steps": executed,
            "is_success": success,
            "success_step": self._env_steps if success else None,
            "env_steps": self._env_steps,
        }
        return self._simulation.observe(), float(success), success, truncated, info | self._privileged()

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The first camera, upright, uint8 [H, W, 3]."""
        if self._simulation is None:
            raise RuntimeError("render before reset: call reset first")
        return next(iter(self._simulation.observe()["pixels"].values()))[::-1, ::-1]

    def close(self) -> None:
        """Free all simulations."""
        for simulation in self._simulations.values():
            simulation.close()
        self._simulations.clear()

    def _privileged(self) -> dict[str, Any]:
        if self._simulation is None or self._scene_state is None:
            return {}
        limit = self._max_steps or self._simulation.task.max_steps
        return {"scene_state": self._scene_state.read(self._env_steps / limit)}

    def _open(self, task: Task) -> LiberoSimulation:
        if task not in self._tasks:
            raise ValueError(f"{task} is not one of this environment's tasks: {self._tasks}")
        simulation = self._simulations.pop(task, None)
        if simulation is None:
            while len(self._simulations) >= self._kept:
                self._simulation = None
                self._simulations.pop(next(iter(self._simulations))).close()
            simulation = LiberoSimulation(*task, **self._settings)
        self._simulations[task] = simulation
        return simulation

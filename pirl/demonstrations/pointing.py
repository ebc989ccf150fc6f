"""Pointing data: pictures of rearranged scenes, labelled with where the goal's object and destination are.

Pretrained vision-language models can point at what an instruction names; a policy as small as those of the
examples is born blind. Each frame shows a scene whose objects were moved, with the arm put into one of the
expert's postures; in half of them the hand is as near to where it goes as the expert's was, give or take a
few centimetres, for there a wrist camera tells the most. A frame's action is the absolute pose that an open
hand has at the object and a closed one at the place where the object belongs; it is the same for all frames
of a scene, so that a chunk of actions is, too. No frame shows how the task is done.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
from tqdm import tqdm

from pirl.demonstrations.datasets import Columns, write_columns
from pirl.demonstrations.layouts import libero_state, to_layout, turn
from pirl.envs.expert import ScriptedExpert
from pirl.envs.expert.motion import CLOSED, OPEN
from pirl.envs.expert.scene import GRIP_SITE, Scene
from pirl.envs.placement import Placement
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

# A little wider than `wide` starts, on both counts: what is tested lies inside.
SHIFT = 0.065  # m
JOINT_SD = 0.07  # rad
LAYOUT, CONTROL_MODE = "xvla", "absolute"
SCENES_PER_JOB = 50
POSTURE_EPISODES = 3
MAX_POSTURE_STEPS = 200
# Scenes seen with a closed hand, where the goal names a destination.
CLOSED_SHARE = 1 / 3
# Frames whose hand is where the expert's was, seen from the place it goes to, and how far off they are.
NEAR_SHARE = 1 / 2
NEAR_SD = (0.03, 0.03, 0.01)  # along x, y and z, m
REACH_STEPS, REACH_DAMPING = 6, 1e-4


class Posture(NamedTuple):
    """A moment of the expert's."""

    joints: np.ndarray  # of arm and fingers, [9]
    offset: np.ndarray  # of the hand from the place it goes to, [3], m


Postures = dict[float, list[Posture]]
"""By gripper command, OPEN (on its way to the goal's object) or CLOSED (to the destination)."""


@dataclass(frozen=True)
class Pointing:
    """What is drawn; two that are equal give the same data set.

    Attributes:
        suite: LIBERO suite.
        task_ids: its tasks.
        scenes: arrangements of objects per task.
        frames: postures of the arm per scene.
        seed: first seed of the scenes' sampled starts.
        cameras: that are rendered.
        height: of the images, pixels.
        width: of the images, pixels.
        fidelity: of the rendering.
    """

    suite: str
    task_ids: tuple[int, ...]
    scenes: int
    frames: int
    seed: int
    cameras: tuple[str, ...]
    height: int
    width: int
    fidelity: str = "fast"

    def jobs(self) -> list[tuple[int, range]]:
        """(task, scenes) to draw at a time; a process that goes on with a task keeps its simulation."""
        return [
            (task_id, range(first, min(first + SCENES_PER_JOB, self.scenes)))
            for task_id in self.task_ids
            for first in range(0, self.scenes, SCENES_PER_JOB)
        ]


def write_pointing(pointing: Pointing, root: Path, workers: int) -> None:
    """Draw all scenes and write them as a LeRobotDataset in XVLA's layout, one episode per scene.

    Raises:
        FileExistsError: if `root` exists.
        ValueError: for an unknown task or camera.
    """
    jobs = pointing.jobs()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def scenes() -> Iterator[Columns]:
            running = [pool.submit(_draw, pointing, *job) for job in jobs]
            with tqdm(total=pointing.scenes * len(pointing.task_ids), desc="pointing", unit="scene") as bar:
                for job in running:
                    for columns in job.result():
                        yield columns
                        bar.update()

        write_columns(scenes(), root, LAYOUT, {"pointing": asdict(pointing)})


def _draw(pointing: Pointing, task_id: int, scenes: range) -> list[Columns]:
    """Some scenes of a task."""
    simulation = _open(pointing, task_id)
    postures = _postures(simulation, pointing.seed + scenes.start)
    drawn = []
    for scene in scenes:
        start = Start("sampled", seed=pointing.seed + scene)
        rng = np.random.default_rng([start.seed, task_id])
        columns = _draw_scene(pointing, simulation, start, postures, rng)
        record = {"suite": pointing.suite, "task_id": task_id, "start": start.to_dict()}
        drawn.append(Columns(columns, simulation.task.language, record))
    return drawn


@functools.lru_cache(maxsize=1)
def _open(pointing: Pointing, task_id: int) -> LiberoSimulation:
    return LiberoSimulation(
        pointing.suite,
        task_id,
        cameras=pointing.cameras,
        height=pointing.height,
        width=pointing.width,
        fidelity=pointing.fidelity,  # type: ignore[arg-type]
    )


def _postures(simulation: LiberoSimulation, seed: int) -> Postures:
    """Wherever the expert takes arm and fingers."""
    joints, scene = np.concatenate(_joints(simulation)), Scene(simulation)
    postures: Postures = {OPEN: [], CLOSED: []}
    for episode in range(POSTURE_EPISODES):
        simulation.reset(Start("wide", seed=seed + episode))
        expert = ScriptedExpert(simulation)
        for _ in range(MAX_POSTURE_STEPS):
            action = expert.act()
            success = simulation.step(action)
            gripper = CLOSED if action[6] > 0 else OPEN
            offset = scene.grip_position - _place(scene, gripper)
            postures[gripper].append(Posture(simulation.data.qpos[joints].copy(), offset))
            if success or expert.done:
                break
    return postures


def _draw_scene(
    pointing: Pointing,
    simulation: LiberoSimulation,
    start: Start,
    postures: Postures,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """One arrangement of the objects, seen with the arm in several postures."""
    simulation.reset(start)
    scene, data = Scene(simulation), simulation.data
    placement = Placement(simulation.model, data)
    for group in placement.movable_groups():
        placement.shift(group, SHIFT, rng)  # what finds no free place stays
    home = libero_state(simulation.observe(images=False)["robot_state"])
    goal = scene.goals[0]
    gripper = CLOSED if len(goal) > 2 and rng.random() < CLOSED_SHARE else OPEN
    place, (arm, fingers) = _place(scene, gripper), _joints(simulation)
    images: dict[str, list[np.ndarray]] = {}
    states = []
    for index in rng.integers(len(postures[gripper]), size=pointing.frames):
        posture = postures[gripper][index]
        data.qvel[:] = 0
        data.qpos[arm] = posture.joints[: len(arm)] + rng.normal(0.0, JOINT_SD, len(arm))
        data.qpos[fingers] = posture.joints[len(arm) :]
        if rng.random() < NEAR_SHARE:
            _reach(simulation, place + posture.offset + rng.normal(0.0, NEAR_SD))
        mujoco.mj_forward(simulation.model, data)
        observation = simulation.look()
        for name, picture in observation["pixels"].items():
            images.setdefault(name, []).append(turn(picture))
        states.append(libero_state(observation["robot_state"]))
    still = np.zeros((pointing.frames, 7), np.float32)
    still[:, 6] = gripper
    frames = {name: np.stack(pictures) for name, pictures in images.items()}
    columns = to_layout(LAYOUT, frames, np.stack(states), still, CONTROL_MODE)
    hand = to_layout(LAYOUT, {}, np.tile(home, (pointing.frames, 1)), still, CONTROL_MODE)["action"]
    hand[:, :3] = place
    return columns | {"action": hand}


def _place(scene: Scene, gripper: float) -> np.ndarray:
    """Where the hand goes to, [3], m."""
    goal = scene.goals[0]
    return scene.position(goal[2] if gripper == CLOSED and len(goal) > 2 else goal[1])


def _reach(simulation: LiberoSimulation, target: np.ndarray) -> None:
    """Move the hand to a place as it is turned, by damped least squares."""
    model, data, robot = simulation.model, simulation.data, simulation.robosuite_env.robots[0]
    site, dofs = model.site(GRIP_SITE).id, robot._ref_joint_vel_indexes
    along, around = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for _ in range(REACH_STEPS):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, along, around, site)
        jacobian = np.vstack([along, around])[:, dofs]
        wanted = np.concatenate([target - data.site_xpos[site], np.zeros(3)])
        damped = jacobian @ jacobian.T + REACH_DAMPING * np.eye(6)
        data.qpos[robot._ref_joint_pos_indexes] += jacobian.T @ np.linalg.solve(damped, wanted)


def _joints(simulation: LiberoSimulation) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of the arm's and the fingers' joints in qpos."""
    robot = simulation.robosuite_env.robots[0]
    return np.asarray(robot._ref_joint_pos_indexes), np.asarray(robot._ref_gripper_joint_pos_indexes)

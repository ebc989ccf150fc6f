"""Pointing data: pictures of rearranged scenes, labelled with where the goal's object and destination are.

Pretrained vision-language models can point at what an instruction names; a policy as small as those of the
examples is born blind. Each frame shows a scene whose objects were moved, with the arm put into one of the
expert's postures. In half of them the posture is one of those nearest to where the hand goes, and the hand as
near to it as the expert's was, give or take a few centimetres: there a wrist camera tells the most. A frame's
action is an absolute pose: of a closed hand at the place where the object belongs if the object is in the
hand, else of an open one at the object, also where a closed, empty hand is at that place already. It is the
same for all frames of a scene, so that a chunk of actions is, too. No frame shows how the task is done.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from math import ceil
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pirl.demonstrations.datasets import Columns, write_columns
from pirl.demonstrations.layouts import libero_state, to_layout, turn
from pirl.demonstrations.postures import Hand, Postures, Puppet, expert_postures
from pirl.envs.expert.motion import CLOSED, OPEN
from pirl.envs.placement import Placement
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

# A little wider than `wide` starts, on both counts: what is tested lies inside.
SHIFT = 0.065  # m
JOINT_SD = 0.07  # rad
LAYOUT, CONTROL_MODE = "xvla", "absolute"
SCENES_PER_JOB = 50
# Scenes whose object is in the hand, and those whose hand is closed and empty, where goals name destinations.
HOLDING_SHARE, EMPTY_SHARE = 1 / 4, 1 / 6
# Frames whose hand is where the expert's was, seen from the place it goes to, in one of the postures that are
# nearest to there, and how far off they are.
NEAR_SHARE, NEAREST_POSTURES = 1 / 2, 1 / 3
NEAR_SD = (0.03, 0.03, 0.01)  # along x, y and z, m


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
    postures = expert_postures(simulation, pointing.seed + scenes.start)
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


def _draw_scene(
    pointing: Pointing,
    simulation: LiberoSimulation,
    start: Start,
    postures: Postures,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """One arrangement of the objects, seen with the arm in several postures."""
    simulation.reset(start)
    placement = Placement(simulation.model, simulation.data)
    for group in placement.movable_groups():
        placement.shift(group, SHIFT, rng)  # what finds no free place stays
    home = libero_state(simulation.observe(images=False)["robot_state"])
    puppet = Puppet(simulation)
    hand = _hand(postures, rng)
    anchor = puppet.goes_to(hand)
    place = puppet.goes_to(Hand.OPEN if hand is Hand.EMPTY else hand)
    images: dict[str, list[np.ndarray]] = {}
    states = []
    for near in rng.random(pointing.frames) < NEAR_SHARE:
        choice = postures[hand][: ceil(NEAREST_POSTURES * len(postures[hand])) if near else None]
        posture = choice[rng.integers(len(choice))]
        joint_noise = rng.normal(0.0, JOINT_SD, len(posture.arm))
        target = anchor + posture.offset + rng.normal(0.0, NEAR_SD) if near else None
        puppet.take(posture, joint_noise, target)
        observation = simulation.look()
        for name, picture in observation["pixels"].items():
            images.setdefault(name, []).append(turn(picture))
        states.append(libero_state(observation["robot_state"]))
    still = np.zeros((pointing.frames, 7), np.float32)
    still[:, 6] = CLOSED if hand is Hand.HOLDING else OPEN
    frames = {name: np.stack(pictures) for name, pictures in images.items()}
    columns = to_layout(LAYOUT, frames, np.stack(states), still, CONTROL_MODE)
    pose = to_layout(LAYOUT, {}, np.tile(home, (pointing.frames, 1)), still, CONTROL_MODE)["action"]
    pose[:, :3] = place
    return columns | {"action": pose}


def _hand(postures: Postures, rng: np.random.Generator) -> Hand:
    """What a scene's hand is about."""
    chance = rng.random()
    if not postures[Hand.HOLDING] or chance >= HOLDING_SHARE + EMPTY_SHARE:
        return Hand.OPEN
    return Hand.HOLDING if chance < HOLDING_SHARE else Hand.EMPTY

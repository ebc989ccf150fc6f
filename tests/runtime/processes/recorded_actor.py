"""An actor without a simulator: under each edition of the weights it decides on random observations."""

import logging

import torch

from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.tasks import get_task
from pirl.runtime.agent import build_agent
from pirl.runtime.client import LearnerClient
from pirl.runtime.configuration import EPISODES_PER_INCARNATION, parse_config
from tests.algorithms.rollouts import record_episodes

config = parse_config()
agent = build_agent(config)
client = LearnerClient(config.transport)
client.connect()
task = (config.env.task, config.rollout.task_ids[0])
space = LiberoChunkEnv(
    [task],
    chunk_size=config.rollout.chunk_size,
    height=config.env.observation_height,
    width=config.env.observation_width,
    cameras=config.cameras,
).observation_space


def observe(seed: int) -> dict[str, torch.Tensor]:
    space.seed(seed)
    return agent.processing.encode([space.sample()], [get_task(*task).language])


sent = config.incarnation * EPISODES_PER_INCARNATION
while not client.finished:
    weights = client.take_weights(timeout=0.2)
    if weights is None:
        continue
    agent.algorithm.load_weights(weights.state)
    torch.manual_seed(weights.policy_version)
    decisions = 3
    recorded = record_episodes(agent.algorithm, decisions=decisions, seed=sent, observe=observe)
    for first in range(0, len(recorded), decisions):
        episode = recorded[first : first + decisions]
        for transition in episode:
            transition["complementary_info"]["episode_id"] = torch.tensor([float(sent)])
        outcome = {"actor_id": 0, "task_id": task[1], "success": bool(episode[-1]["done"])}
        totals = {"inference_s": 0.0, "waiting_s": 0.0, "lost_episodes": 0}
        client.send_episode(episode, outcome | totals)
        sent += 1
    logging.info("sent %d episodes", sent)
client.close()

"""PI-RL around a tiny random policy, in small batches."""

import torch
from lerobot.rl.data_sources import OnlineOfflineMixer

from pirl.algorithms import PiRLConfig
from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.pi_rl.algorithm import PiRLAlgorithm
from tests.algorithms.rollouts import record_episodes, store
from tests.policies.tiny import make_xvla

SMALL = {"episodes_per_update": 4, "minibatch_size": 6, "micro_batch_size": 4, "critic_warmup_epochs": 1}


def make(variant="flow_sde", policy=None, **settings) -> PiRLAlgorithm:
    torch.manual_seed(0)
    return make_algorithm(PiRLConfig(variant=variant, **(SMALL | settings)), policy or make_xvla())


def update(algorithm, buffer=None, mixer=None):
    buffer = buffer or store(record_episodes(algorithm))
    iterator = algorithm.configure_data_iterator(mixer or OnlineOfflineMixer(buffer), 8)
    return algorithm.update(iterator).to_log_dict()

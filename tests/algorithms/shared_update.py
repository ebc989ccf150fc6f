"""Two PI-RL updates in each setting, in one process or in several that share them, sharded or not.

torchrun --standalone --nproc-per-node 2 -m tests.algorithms.shared_update RESULT.pt [sharded]
"""

import sys

import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer

from pirl.algorithms import PiRLConfig
from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.processes import Processes
from pirl.algorithms.sharding import is_sharded
from pirl.runtime.child import die_with_parent
from tests.algorithms.rollouts import commands, record_episodes, store
from tests.policies.tiny import make_observation, make_policy

# Seven decisions in minibatches of three or four: no share is even, some are empty.
SMALL = {
    "epochs": 2,
    "minibatch_size": 4,
    "micro_batch_size": 2,
    "critic_warmup_epochs": 2,
    "lr_warmup_steps": 0,
}
SETTINGS = {
    "flow_sde": {"variant": "flow_sde"},
    "flow_noise": {"variant": "flow_noise", "entropy_coefficient": 0.01},
    "encoder": {"variant": "flow_sde", "trainable": "all", "critic_input": "action_tokens"},
    "chunk_ratio": {"variant": "flow_sde", "ratio_level": "chunk", "minibatch_size": 1},
    "scene": {"variant": "flow_sde", "critic_input": "scene", "bootstrap_timeouts": False, "critic_lr": 3e-4},
    "memory": {
        "variant": "flow_sde",
        "critic_input": "scene",
        "bootstrap_timeouts": False,
        "critic_memory": 2,
        "critic_lr": 3e-4,
    },
    "action_value": {
        "variant": "flow_sde",
        "advantage": "action_value",
        "stochastic_steps": "last",
        "critic_input": "scene",
        "bootstrap_timeouts": False,
        "critic_memory": 2,
        "critic_lr": 3e-4,
        "imagined_decisions": 4,
        # Two steps of the full rate move this policy by many nats: rounding would decide what follows.
        "actor_lr": 3e-4,
        "target_kl": None,
    },
    "preferred": {
        "variant": "flow_sde",
        "advantage": "action_value",
        "objective": "preferred",
        "decision_memory": 2,
        "stochastic_steps": "last",
        "critic_input": "scene",
        "bootstrap_timeouts": False,
        "critic_memory": 2,
        "imagined_decisions": 4,
    },
    "kl_stop": {"variant": "flow_sde", "actor_lr": 3e-3, "target_kl": 1e-4, "epochs": 9},
    "grpo": {"variant": "flow_sde", "advantage": "grpo"},
    "hybrid": {"variant": "flow_sde", "bc_coefficient": 0.5},
}
# What matters to sharded forward passes only, beside those above.
SHARDED = {
    name: SETTINGS[name]
    for name in (
        "flow_sde",
        "flow_noise",
        "encoder",
        "chunk_ratio",
        "kl_stop",
        "scene",
        "action_value",
        "preferred",
        "hybrid",
    )
}
SHARDED |= {
    "encoded_again": {"variant": "flow_sde", "cache_encoder": False},
    "recompute": {"variant": "flow_noise", "trainable": "all", "activation_checkpointing": True},
    "one_decision": {"variant": "flow_sde"},
    "smolvla": {"variant": "flow_noise", "trainable": "all"},
    "pi0": {"variant": "flow_noise", "trainable": "all", "activation_checkpointing": True},
    "pi05": {"variant": "flow_noise", "trainable": "all"},
}


def update(name: str, processes: Processes, sharded: bool = False) -> dict:
    """Parameters and statistics after two updates; only the leading process has the rollouts."""
    algorithm = actor = make(name)
    algorithm.processes = processes
    if sharded:
        actor = make(name)
        algorithm.shard()
    statistics = []
    for round_ in range(2):
        if sharded:
            weights = algorithm.get_weights()
            if processes.leads:
                actor.load_weights(weights)
        torch.manual_seed(round_ if processes.leads else 99)
        online = ReplayBuffer(16, device="cpu", use_drq=False)
        if processes.leads:
            store(rollouts(actor, name, round_), online)
        mixer = OnlineOfflineMixer(online, *((demonstrations(algorithm), 0.5) if name == "hybrid" else ()))
        statistics.append(algorithm.update(algorithm.configure_data_iterator(mixer, 8)).to_log_dict())
    own = dict(algorithm.policy.named_parameters())
    parameters = {n: p.detach() for n, p in own.items()}
    parameters = {n: p.full_tensor() if is_sharded(p) else p for n, p in parameters.items()}
    parts = {n: p.to_local().numel() for n, p in own.items() if is_sharded(p)}
    states = {n: algorithm.optimizers["actor"].state.get(own[n]) for n in parts}
    moments = {n: state["exp_avg"].to_local().numel() for n, state in states.items() if state}
    processes.in_step = False
    return {
        "parameters": parameters | algorithm.state_dict(),
        "statistics": statistics,
        "parts": parts,
        "moments": moments,
    }


def make(name: str):
    torch.manual_seed(0)
    settings = {"actor_lr": 1e-3, "episodes_per_update": 3} | SMALL | (SETTINGS | SHARDED)[name]
    if name == "one_decision":
        settings["episodes_per_update"] = 1
    algorithm = make_algorithm(
        PiRLConfig(**settings), make_policy(name if name in ("smolvla", "pi0", "pi05") else "xvla")
    )
    algorithm.commands = lambda actions: commands(0.1 * actions)
    return algorithm


def rollouts(algorithm, name: str, seed: int) -> list[dict]:
    """Three episodes of three, two and two decisions; one succeeds. For GRPO they begin alike."""
    if name == "one_decision":
        return record_episodes(algorithm, 2, 1, seed)[1:]
    transitions = record_episodes(algorithm, 1, 3, seed) + record_episodes(algorithm, 2, 2, seed + 50)[2:]
    transitions += record_episodes(algorithm, 2, 2, seed + 70)[2:]
    if name == "grpo":
        for first in (0, 3, 5):
            transitions[first]["state"] |= {"observation.state": transitions[0]["state"]["observation.state"]}
    return transitions


def demonstrations(algorithm) -> ReplayBuffer:
    offline = ReplayBuffer(8, device="cpu", use_drq=False)
    for seed in range(8):
        state = make_observation(algorithm.policy, 1, seed)
        offline.add(state, torch.rand(1, 4 * 10), 0.0, state, False, False)
    return offline


def main() -> None:
    die_with_parent()
    torch.set_num_threads(1)
    processes = Processes.join(cpu=True, timeout_s=600.0)
    sharded = sys.argv[2:] == ["sharded"]
    names = SHARDED if sharded else SETTINGS
    results = {name: update(name, processes, sharded) for name in names}
    everyone = processes.gather(results)
    if processes.leads:
        torch.save(everyone, sys.argv[1])
    processes.leave()


if __name__ == "__main__":
    main()

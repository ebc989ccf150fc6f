"""PI-RL on LeRobot's `RLAlgorithm` contract."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from lerobot.lerobot_types import BatchType
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.rl.algorithms.base import RLAlgorithm
from lerobot.rl.algorithms.configs import TrainingStats
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import DataMixer
from torch import Tensor, nn
from torch.optim import Optimizer

from pirl.algorithms.acting import Decision
from pirl.algorithms.pi_rl.advantages import normalise
from pirl.algorithms.pi_rl.approach import APPROACH_DIM
from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.pi_rl.credit import Credit, Estimator
from pirl.algorithms.pi_rl.critic_memory import CriticMemory
from pirl.algorithms.pi_rl.imagination import Commands, guide, guided_share
from pirl.algorithms.pi_rl.lessons import Lessons
from pirl.algorithms.pi_rl.networks import Critic, SceneCritic
from pirl.algorithms.pi_rl.optimisation import ImitationLoss, Means, Optimisation
from pirl.algorithms.pi_rl.optimizers import Group, actor_groups, make_optimizer, schedule_factor
from pirl.algorithms.pi_rl.rollouts import RolloutIterator, RolloutReader
from pirl.algorithms.pi_rl.statistics import batch_statistics
from pirl.algorithms.pi_rl.stochastic_policy import StochasticPolicy
from pirl.algorithms.processes import Processes
from pirl.algorithms.sharding import shard, whole
from pirl.envs.scene_state import SCENE_DIM
from pirl.policies.registry import make_flow_policy


class PiRLAlgorithm(RLAlgorithm):
    """PPO on a flow policy's denoising chain.

    Acts on the actor's side, updates on the learner's; the policy's own configuration, weights' names and
    `from_pretrained` stay as they are.

    Attributes:
        chunk_size: H, executed steps per decision.
        policy_version: updates done; published with the weights, recorded with every transition.
        processes: those that take part in every update; this one alone unless set.
        commands: the policy's postprocessor, for `advantage=action_value`.
    """

    config_class = PiRLConfig
    name = "pi_rl"

    def __init__(self, policy: PreTrainedPolicy, config: PiRLConfig) -> None:
        """Put PI-RL around a flow policy.

        Raises:
            ValueError: when the policy is not a flow policy, or does not fit the settings.
        """
        self.policy = policy
        self.config = config
        device = torch.device(policy.config.device)
        policy.to(device)
        self.flow = make_flow_policy(policy, config.executed_dims)
        self.flow.select_trainable(encoder=config.trainable == "all")
        if config.activation_checkpointing:
            self.flow.recompute_activations()
        self.stochastic = StochasticPolicy(self.flow, config, device)
        self.critic: nn.Module | None = None if config.advantage == "grpo" else self._make_critic().to(device)
        memory = config.critic_memory
        self._memory = CriticMemory(memory, self._scene_critic_dim(), device) if memory else None
        self._past: list[UpdateBatch] = []
        self.commands: Commands | None = None
        self.chunk_size = self.flow.executed_steps
        self.policy_version = 0
        self.processes = Processes()
        self.optimizers: dict[str, Optimizer] = {}
        self._learning_rates: dict[str, list[float]] = {}
        self._reader: RolloutReader | None = None
        self._offline: ReplayBuffer | None = None
        self._online_ratio = 1.0

    # --- acting ---

    @torch.no_grad()
    def act(
        self, observation: dict[str, Tensor], scenes: Tensor | None = None, chances: Tensor | None = None
    ) -> Decision:
        """Draw exploratory decisions; with `guidance`, once the critic is fitted, also what it prefers.

        Args:
            observation: preprocessed policy inputs, [B, ...].
            scenes: the simulator's own view of each, [B, S]; None: the policy decides alone.
            chances: a number in [0, 1) per episode, [B]: those below the share to be led are; None: drawn.

        Returns:
            Actions [B, H, D_real] for the policy's postprocessor; the chain and log-prob to store with them.
        """
        self.flow.eval()
        context = self.stochastic.encode(observation)
        batch = len(next(iter(observation.values())))
        action, stored = self.stochastic.decide(context, batch)
        if self.config.guidance:
            led = torch.zeros(batch, dtype=torch.bool)
            if scenes is not None:
                share = guided_share(self.config, self.policy_version)
                led = (torch.rand(batch) if chances is None else chances) < share
            if scenes is not None and led.any():
                if self.commands is None or self.critic is None:
                    raise RuntimeError("guidance: set `commands` before act")
                action, stored = guide(
                    self.stochastic, context, action, stored, scenes, self.commands, self.critic, led
                )
            stored["led"] = led.float()
        return Decision(action, {key: value.cpu() for key, value in stored.items()})

    # --- on-policy data ---

    def rollout_ready(self, replay_buffer: ReplayBuffer) -> bool:
        """True when enough complete, fresh, unread episodes for one update lie in the buffer."""
        oldest = (
            -math.inf
            if self.config.max_policy_lag is None
            else self.policy_version - self.config.max_policy_lag
        )
        episodes, transitions = self._reader_of(replay_buffer).poll(oldest, self.policy_version)
        if self.config.transitions_per_update is not None:
            return transitions >= self.config.transitions_per_update
        return episodes >= self.config.episodes_per_update

    def configure_data_iterator(
        self, data_mixer: DataMixer, batch_size: int, *, async_prefetch: bool = True, queue_size: int = 2
    ) -> Iterator[BatchType]:
        """Iterate over complete on-policy rollouts, in order, each once.

        Args:
            data_mixer: its online buffer is read; its offline buffer serves hybrid mode, `online_ratio` of a
                minibatch being online.
            batch_size: unused: one batch is all that was collected for an update.
            async_prefetch: unused.
            queue_size: unused.

        Raises:
            ValueError: when hybrid mode is on and there are no demonstrations.
        """
        self._offline = getattr(data_mixer, "offline_buffer", None)
        self._online_ratio = getattr(data_mixer, "online_ratio", 1.0)
        if self.config.bc_coefficient and (self._offline is None or self._online_ratio >= 1.0):
            raise ValueError(
                "algorithm.bc_coefficient: needs demonstrations and online_ratio below 1 for its offline "
                "batches; give both, or use bc_coefficient=0"
            )
        buffer = data_mixer.online_buffer
        return RolloutIterator(self._reader_of(buffer), lambda: self.rollout_ready(buffer))

    def _reader_of(self, buffer: ReplayBuffer) -> RolloutReader:
        if self._reader is None or self._reader.buffer is not buffer:
            self._reader = RolloutReader(buffer)
        return self._reader

    # --- updating ---

    def shard(self) -> None:
        """Keep only this process's part of the policy's blocks; call it before optimizers are made.

        From then on acting, updating, `get_weights` and the optimizers' `state_dict` are collective: all of
        `processes` do them in the same order, and only the leading one receives whole weights.

        Raises:
            ValueError: when the optimizer needs whole matrices.
        """
        if self.config.actor_optimizer == "muon":
            raise ValueError(
                "algorithm.actor_optimizer: muon needs whole matrices; use adamw, or learner_sharding=false"
            )
        shard(self.flow.blocks(), self.stochastic.device)
        self.processes.in_step = True

    def update(self, batch_iterator: Iterator[BatchType]) -> TrainingStats:
        """One PPO update on one on-policy batch; increments `policy_version`.

        Args:
            batch_iterator: gives the batch in the leading process, is not asked in the others.

        Returns:
            Statistics under the names of docs/algorithms/pi_rl.md.
        """
        if not self.optimizers:
            self.make_optimizers_and_scheduler()
        rollouts = self.processes.share(next(batch_iterator) if self.processes.leads else None)
        batch = UpdateBatch(rollouts, self.stochastic, self.config, self.processes)
        optimisation = Optimisation(
            self.config,
            self.critic,
            self.optimizers,
            self._learning_rates,
            schedule_factor(self.config, self.policy_version),
            self.optimization_step,  # type: ignore[has-type]
        )
        estimator = Estimator(
            self.critic, self._memory, self.commands, optimisation, self.policy_version == 0
        )
        credit = estimator.credit(batch)
        if credit.preferred is not None:
            earlier = [estimator.reconsider(past) for past in self._past]
            optimisation.imitate(Lessons([*earlier, credit.preferred]))
            self._remember(batch)
        else:
            normalised = normalise(credit.advantages, self.config.advantage_std_floor)
            imitation = self._imitation_loss() if self.config.bc_coefficient else None
            optimisation.run(batch, credit.decisions, normalised, credit.values, credit.returns, imitation)
        self.optimization_step = optimisation.steps
        optimisation.metrics = Means.merged(self.processes.gather(optimisation.metrics))
        stats = self._stats(batch, optimisation, credit)
        self.policy_version += 1
        return stats

    def _remember(self, batch: UpdateBatch) -> None:
        """Keep an update's decisions for `decision_memory` updates, this one among them."""
        batch.forget_pictures()
        self._past.append(batch)
        del self._past[: max(0, len(self._past) - self.config.decision_memory + 1)]

    def _imitation_loss(self) -> ImitationLoss:
        """Hybrid mode: the policy's flow-matching loss on offline decisions, split by `online_ratio`."""
        offline, ratio = self._offline, self._online_ratio
        if offline is None:
            raise RuntimeError(
                "hybrid mode: call configure_data_iterator with an offline buffer before update"
            )

        def loss(online_decisions: int) -> Tensor:
            size = max(1, round(online_decisions * (1 - ratio) / max(ratio, 1e-3)))
            demonstrated = offline.sample(size)
            context = self.stochastic.encode(demonstrated["state"])
            actions = demonstrated["action"].to(self.stochastic.device)
            return self.flow.imitation_loss(context, actions.reshape(len(actions), self.chunk_size, -1))

        return loss

    def _stats(self, batch: UpdateBatch, optimisation: Optimisation, credit: Credit) -> TrainingStats:
        metrics = optimisation.metrics.result()
        losses = {name: value for name, value in metrics.items() if name.startswith("loss/")}
        extra = {name: value for name, value in metrics.items() if not name.startswith("loss/")}
        extra |= batch_statistics(batch, credit, self.policy_version) | {
            "rollout/dropped_episodes": float(self._reader.dropped if self._reader else 0),
            "lr/actor": self.optimizers["actor"].param_groups[0]["lr"],
        }
        if self.critic is not None:
            extra["value/explained_variance"] = credit.foreseen
            extra["lr/critic"] = self.optimizers["critic"].param_groups[0]["lr"]
        return TrainingStats(losses=losses, extra=extra)

    # --- optimizers ---

    def make_optimizers_and_scheduler(self) -> dict[str, Optimizer]:
        """One for the actor (policy and noise network), one for the critic."""
        actor = actor_groups(self.flow, self.stochastic.noise, self.config)
        self.optimizers = {"actor": make_optimizer(actor, self.config.actor_optimizer)}
        if self.critic is not None:
            critic = Group(list(self.critic.parameters()), self.config.critic_lr, 0.0)
            self.optimizers["critic"] = make_optimizer([critic])
        self._learning_rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        return self.optimizers

    def get_optimizers(self) -> dict[str, Optimizer]:
        """The optimizers, for checkpoints."""
        return self.optimizers

    # --- weights and checkpoints ---

    def get_weights(self) -> dict[str, Any]:
        """What an actor needs: trained parameters, the noise network, the version; the critic if it guides.

        Frozen parameters travel only when the policy was created afresh: then the actors do not have them.
        """
        fresh = self.policy.config.pretrained_path is None
        trained = {name for name, _ in self.flow.trainable_parameters()}
        weights: dict[str, Any] = {
            "policy": {
                name: whole(tensor.detach()).cpu().clone()
                for name, tensor in self.policy.state_dict().items()
                if fresh or name in trained
            },
            "policy_version": torch.tensor(self.policy_version),
        }
        for part, module in self._published_parts():
            weights[part] = {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
        return weights

    def load_weights(self, weights: dict[str, Any], device: str | torch.device = "cpu") -> None:
        """Take what `get_weights` published.

        Raises:
            ValueError: when the weights are of another policy or variant.
        """
        result = self.policy.load_state_dict(weights["policy"], strict=False)
        if result.unexpected_keys:
            raise ValueError(
                f"weights: {result.unexpected_keys[0]!r} is no parameter of this {self.policy.config.type} "
                "policy; actor and learner must load the same policy.path"
            )
        if (self.stochastic.noise is None) != ("noise" not in weights):
            raise ValueError("weights: actor and learner differ in algorithm.variant; give both one run file")
        for part, module in self._published_parts():
            module.load_state_dict(weights[part])
        self.policy_version = int(weights["policy_version"])
        self.flow.eval()

    def _published_parts(self) -> list[tuple[str, nn.Module]]:
        """What actors need beside the policy."""
        parts = (("noise", self.stochastic.noise), ("critic", self.critic if self.config.guidance else None))
        return [(name, part) for name, part in parts if part is not None]

    def state_dict(self) -> dict[str, Tensor]:
        """What the algorithm owns beside the policy: critic, noise network, counters."""
        tensors = {"policy_version": torch.tensor(self.policy_version)}
        for prefix, part in self._own_parts():
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in part.state_dict().items()}
        return tensors

    def load_state_dict(self, state_dict: dict[str, Tensor], device: str | torch.device = "cpu") -> None:
        """Copy tensors in place: optimizers keep their parameters.

        Raises:
            ValueError: when the checkpoint is of another variant or critic.
        """
        wanted = self.state_dict().keys()
        if wanted != state_dict.keys():
            differing = sorted(wanted ^ state_dict.keys())
            raise ValueError(
                f"algorithm checkpoint: {differing[0]!r} and {len(differing) - 1} more tensors do not match "
                f"variant={self.config.variant}, advantage={self.config.advantage}; resume with the same"
            )
        for prefix, part in self._own_parts():
            own = {
                name.removeprefix(f"{prefix}."): t
                for name, t in state_dict.items()
                if name.startswith(f"{prefix}.")
            }
            part.load_state_dict(own)
        self.policy_version = int(state_dict["policy_version"])

    def _own_parts(self) -> list[tuple[str, nn.Module | CriticMemory]]:
        parts = (("critic", self.critic), ("noise", self.stochastic.noise), ("memory", self._memory))
        return [(name, part) for name, part in parts if part is not None]

    def _scene_critic_dim(self) -> int:
        return SCENE_DIM + (APPROACH_DIM if self.config.advantage == "action_value" else 0)

    @property
    def needs_scene_state(self) -> bool:
        """Whether transitions must carry the simulator's own view."""
        return self.critic is not None and self.config.critic_input == "scene"

    def _make_critic(self) -> nn.Module:
        if self.config.critic_input == "scene":
            return SceneCritic(self._scene_critic_dim(), self.config.critic_hidden)
        token_dim, state_dim = self.flow.observation_dim
        if self.config.critic_input == "action_tokens":
            token_dim = self.flow.token_dim
        return Critic(token_dim, state_dim, self.config.critic_hidden, self.config.critic_pooling_queries)

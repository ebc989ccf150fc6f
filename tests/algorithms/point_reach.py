"""A small environment with a known optimum, and a small flow policy that acts in it.

A point starts at the origin and is told one of four goals. A decision moves it twice, by at most
0.3 per axis. Reaching the goal within 0.25 gives 1, and three decisions are allowed where two suffice:
the optimal return is 1. The warm start is cloned from an expert whose sense of direction is turned, so it
arrives nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.rl.buffer import ReplayBuffer
from torch import Tensor, nn

from pirl.algorithms.acting import SCENE_STATE
from pirl.envs.scene_state import GOALS as PLACES
from pirl.envs.scene_state import PER_METRE, SCENE_DIM, SUBJECT_POSITION, WAY_LEFT
from pirl.flow.chain import Output
from pirl.policies.flow_policy import Context, FlowPolicy

GOALS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
STEP, RADIUS, MAX_DECISIONS, H = 0.3, 0.25, 3, 2


@PreTrainedConfig.register_subclass("point")
@dataclass
class PointConfig(PreTrainedConfig):
    """An MLP that predicts the action, as XVLA does."""

    chunk_size: int = H
    n_action_steps: int = H
    num_denoising_steps: int = 4

    observation_delta_indices = None
    action_delta_indices = None
    reward_delta_indices = None

    def get_optimizer_preset(self):
        raise NotImplementedError

    def get_scheduler_preset(self):
        return None

    def validate_features(self) -> None:
        pass


class PointPolicy(PreTrainedPolicy):
    """Position and goal -> chunk of two velocities."""

    config_class = PointConfig
    name = "point"

    def __init__(self, config: PointConfig) -> None:
        super().__init__(config)
        self.encoder = nn.Linear(4, 4)
        nn.init.eye_(self.encoder.weight)
        nn.init.zeros_(self.encoder.bias)
        self.trunk = nn.Sequential(nn.Linear(4 + H * 2 + 1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.head = nn.Linear(64, H * 2)

    def predict(self, observation: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.trunk(torch.cat([self.encoder(observation), x.flatten(1), t[:, None]], dim=-1))
        return self.head(tokens).view(-1, H, 2), tokens

    def get_optim_params(self):
        return self.parameters()

    def reset(self):
        pass

    def forward(self, batch):
        raise NotImplementedError

    predict_action_chunk = select_action = forward


class PointFlow(FlowPolicy):
    """Adapter of the point policy."""

    policy_type = "point"
    prediction = "action"
    has_native_sampler = True
    model_dims = 2
    token_dim = 64
    observation_dim = (4, 0)
    denoising_steps = 4

    def encoder(self):
        return [self.policy.encoder]

    def denoiser(self):
        return [self.policy.trunk, self.policy.head]

    def blocks(self):
        return [self.policy.trunk]

    def encode(self, observation: dict[str, Tensor]) -> Context:
        return {"observation": observation["observation.state"]}

    def denoise(self, context: Context, x: Tensor, t: Tensor) -> Output:
        action, tokens = self.policy.predict(context["observation"], x, t)
        return Output(action, tokens[:, None].expand(-1, H, -1))

    def critic_inputs(self, context: Context):
        observation = context["observation"]
        return observation[:, None], observation[:, :0]

    def imitation_loss(self, context: Context, actions: Tensor) -> Tensor:
        t = torch.rand(len(actions))
        noisy = (1 - t).view(-1, 1, 1) * actions + t.view(-1, 1, 1) * torch.randn_like(actions)
        return (self.denoise(context, noisy, t).prediction - actions).square().mean()


def expert(observation: Tensor, turn: float = 0.0) -> Tensor:
    """The optimal chunk, turned by an angle in radians; unit-scale actions, [B, H, 2]."""
    direction = observation[:, 2:] - observation[:, :2]
    direction = direction / direction.abs().amax(-1, keepdim=True).clamp_min(STEP)
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return (direction @ rotation.T)[:, None].expand(-1, H, 2)


def warm_start(seed: int, turn: float = 0.6) -> PointPolicy:
    """A policy cloned from the turned expert, with some spread."""
    torch.manual_seed(seed)
    features = {"observation.state": PolicyFeature(FeatureType.STATE, (4,))}
    policy = PointPolicy(
        PointConfig(
            device="cpu",
            push_to_hub=False,
            input_features=features,
            output_features={"action": PolicyFeature(FeatureType.ACTION, (2,))},
        )
    )
    flow, optimizer = PointFlow(policy), torch.optim.Adam(policy.parameters(), lr=3e-3)
    for _ in range(400):
        position = torch.rand(256, 2) * 2.4 - 1.2
        observation = torch.cat([position, GOALS[torch.randint(4, (256,))]], dim=-1)
        actions = expert(observation, turn) + 0.1 * torch.randn(256, H, 2)
        optimizer.zero_grad()
        flow.imitation_loss(flow.encode({"observation.state": observation}), actions).backward()
        optimizer.step()
    return policy


def move(position: Tensor, actions: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """Execute a chunk: new positions [B, 2] and executed steps until success (0: no success), [B]."""
    reached = torch.zeros(len(position), dtype=torch.long)
    for step in range(actions.shape[1]):
        going = reached == 0
        moved = position + STEP * actions[:, step].clamp(-1, 1)
        position = torch.where(going[:, None], moved, position)
        success = (position - goal).norm(dim=-1) < RADIUS
        reached = torch.where(going & success, step + 1, reached)
    return position, reached


def scene_state(state: Tensor, elapsed: float) -> Tensor:
    """The goal as an object and as a destination in a world whose origin is the point, [SCENE_DIM]."""
    scene = torch.zeros(SCENE_DIM)
    scene[0] = elapsed
    scene[PLACES[0]][SUBJECT_POSITION][:2] = scene[PLACES[0]][WAY_LEFT][:2] = state[2:] - state[:2]
    return scene


def commands(actions: Tensor) -> Tensor:
    """Velocities as the positions they lead to in that world, [B, H, 7]."""
    positions = STEP / PER_METRE * actions.clamp(-1, 1).cumsum(-2)
    return torch.cat([positions, torch.zeros(*actions.shape[:-1], 5)], dim=-1)


@torch.no_grad()
def collect(algorithm, buffer: ReplayBuffer, episodes: int) -> float:
    """Roll episodes out under exploration noise into the buffer, whole episodes in order; success rate."""
    goal = GOALS[torch.randint(4, (episodes,))]
    position = torch.zeros(episodes, 2) + 0.05 * torch.randn(episodes, 2)
    stored = [[] for _ in range(episodes)]
    active = torch.ones(episodes, dtype=torch.bool)
    for decision in range(MAX_DECISIONS):
        rows = active.nonzero().flatten()
        if not len(rows):
            break
        state = torch.cat([position, goal], dim=-1)
        act = algorithm.act({"observation.state": state[rows]})
        position[rows], reached = move(position[rows], act.action, goal[rows])
        next_state = torch.cat([position, goal], dim=-1)
        for i, row in enumerate(rows.tolist()):
            done = bool(reached[i] > 0)
            numbers = dict(
                policy_version=algorithm.policy_version,
                episode_id=row,
                decision_index=decision,
                actor_id=0,
                executed_steps=int(reached[i]) if done else H,
            )
            info = {key: value[i : i + 1] for key, value in act.complementary_info.items()}
            info |= {key: torch.tensor([float(value)]) for key, value in numbers.items()}
            if algorithm.needs_scene_state:
                info[SCENE_STATE] = scene_state(state[row], decision / MAX_DECISIONS)[None]
            stored[row].append(
                dict(
                    state={"observation.state": state[row : row + 1]},
                    action=act.action[i].reshape(1, -1),
                    reward=float(done),
                    next_state={"observation.state": next_state[row : row + 1]},
                    done=done,
                    truncated=not done and decision == MAX_DECISIONS - 1,
                    complementary_info=info,
                )
            )
            active[row] = not done
    for transition in (t for episode in stored for t in episode):
        buffer.add(**transition)
    return float((~active).float().mean())


@torch.no_grad()
def evaluate(policy: PointPolicy, sampler: str, episodes: int = 200) -> float:
    """Success rate without exploration noise."""
    goal = GOALS[torch.arange(episodes) % 4]
    position = torch.zeros(episodes, 2)
    success = torch.zeros(episodes, dtype=torch.bool)
    for _ in range(MAX_DECISIONS):
        observation = torch.cat([position, goal], dim=-1)
        x = first = torch.randn(episodes, H, 2)
        for k in range(4):
            t, t_next = 1 - k / 4, 1 - (k + 1) / 4
            action, _ = policy.predict(observation, x, torch.full((episodes,), t))
            x = (
                (t_next / t) * x + (1 - t_next / t) * action
                if sampler == "euler"
                else t_next * first + (1 - t_next) * action
            )
        position, reached = move(position, x, goal)
        success |= reached > 0
    return float(success.float().mean())

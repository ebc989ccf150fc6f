"""The two networks PI-RL adds to a policy: the critic (learner only) and Flow-Noise's std."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pirl.flow.kernels import bounded_std


class Critic(nn.Module):
    """V(s) from tokens, pooled by learned queries, and proprioception.

    Queries start near zero: the first pooling is close to the plain mean.
    """

    def __init__(self, token_dim: int, state_dim: int, hidden: int, queries: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(token_dim)
        self.queries = nn.Parameter(torch.zeros(queries, token_dim))
        self.body = nn.Sequential(
            nn.Linear(queries * token_dim + state_dim, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.head = nn.Linear(hidden, 1)
        nn.init.normal_(self.queries, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, state: Tensor) -> Tensor:
        """Values [B] of tokens [B, T, F] and state [B, P]."""
        normed = self.norm(tokens.float())
        weights = torch.softmax(torch.einsum("qf,btf->bqt", self.queries, normed), dim=-1)
        pooled = torch.einsum("bqt,btf->bqf", weights, normed).flatten(1)
        return self.head(self.body(torch.cat([pooled, state.float()], dim=-1))).squeeze(-1)


class SceneCritic(nn.Module):
    """V(s) from the simulator's own view of the scene (Pinto et al. 2017, asymmetric actor-critic).

    Q(s, a) where it is shown as well what the action approaches there.
    """

    def __init__(self, input_dim: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(input_dim, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.head = nn.Linear(hidden, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, scene: Tensor) -> Tensor:
        """Values [...] of scene states [..., I]."""
        return self.head(self.body(scene)).squeeze(-1)


class NoiseNetwork(nn.Module):
    """Flow-Noise's std per action step and dim, from the denoiser's action tokens.

    Its input is detached, so learning how much to explore does not bend the policy's features. The last layer
    starts at zero: every std begins at the geometric mean of its bounds.
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, token_dim: int, dims: int, lowest: Tensor, highest: Tensor) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(token_dim),
            nn.Linear(token_dim, 128),
            nn.Tanh(),
            nn.Linear(128, 64),
            nn.Tanh(),
        )
        self.head = nn.Linear(64, dims)
        self.register_buffer("lowest", lowest, persistent=False)
        self.register_buffer("highest", highest, persistent=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Std, float32 [B, C, D], of tokens [B, C, F]."""
        return bounded_std(self.head(self.body(tokens.detach().float())), self.lowest, self.highest)

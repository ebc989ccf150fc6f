"""The evaluator sees, decides and ends as stock lerobot-eval does, picture for picture."""

import contextlib
import io

import gymnasium as gym
import pytest
import torch
from lerobot.envs import make_env_pre_post_processors
from lerobot.envs.configs import LiberoEnv as LiberoEnvConfig
from lerobot.policies import make_pre_post_processors
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.scripts.lerobot_eval import rollout

from pirl.envs.assets import configure_libero
from pirl.envs.workers import EnvWorkers
from pirl.evaluation.evaluator import Evaluator
from pirl.evaluation.plan import official_episodes
from pirl.evaluation.policy import EvaluationPolicy
from pirl.policies.processing import PolicyProcessing
from tests.policies.tiny import save_xvla

SEED, SIZE, MAX_STEPS = 11, 32, 16
TASKS = [("libero_object", 3), ("libero_goal", 8)]


class Watched:
    """A policy's inputs, in order, whoever calls it."""

    def __init__(self, policy):
        self.policy, self.seen = policy, []
        build = policy._build_model_inputs

        def watched(batch):
            self.seen.append({key: v.clone() for key, v in batch.items() if isinstance(v, torch.Tensor)})
            return build(batch)

        policy._build_model_inputs = watched

    def take(self):
        seen, self.seen = self.seen, []
        return seen


def stock_episodes(folder, policy, config, watched, suite, task_id, count):
    """Success and policy inputs of each episode, as lerobot-eval with one episode and its seed."""
    with contextlib.redirect_stdout(io.StringIO()):
        from lerobot.envs.libero import LiberoEnv, _get_suite
    environment_in, environment_out = make_env_pre_post_processors(config, policy.config)
    before, after = make_pre_post_processors(policy.config, pretrained_path=str(folder))

    def make():
        env = LiberoEnv(
            _get_suite(suite),
            task_id,
            suite,
            obs_type="pixels_agent_pos",
            observation_height=SIZE,
            observation_width=SIZE,
        )
        env._max_episode_steps = MAX_STEPS
        return env

    env = gym.vector.SyncVectorEnv([make], autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    episodes = []
    for index in range(count):
        env.envs[0].init_state_id = index
        torch.manual_seed(SEED + index)
        env.envs[0]._ensure_env()
        env.envs[0]._env.sim._render_context_offscreen.gl_ctx.make_current()
        result = rollout(env, policy, environment_in, environment_out, before, after, seeds=[index])
        episodes.append((bool(result["success"].any()), watched.take()))
    env.close()
    return episodes


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("suite", "task_id"), TASKS)
def test_twenty_episodes_equal_lerobot_evals(suite, task_id, tmp_path):
    configure_libero()
    folder = save_xvla(tmp_path)
    policy = XVLAPolicy.from_pretrained(str(folder)).eval()
    watched = Watched(policy)
    config = LiberoEnvConfig(task=suite)
    plan = official_episodes(suite, [task_id], 10)
    expected = stock_episodes(folder, policy, config, watched, suite, task_id, len(plan))

    chunk = policy.config.n_action_steps
    workers = EnvWorkers(
        1, [(suite, task_id)], chunk_size=chunk, max_steps=MAX_STEPS, height=SIZE, width=SIZE
    )
    processing = PolicyProcessing(policy.config, config, pretrained_path=folder)
    evaluator = Evaluator(EvaluationPolicy(policy, processing, chunk), workers, seed=SEED)
    try:
        records = evaluator.run(plan, tmp_path / "records.jsonl", "ours")
    finally:
        workers.close()
    ours = watched.take()
    assert [record.success for record in records] == [success for success, _ in expected]
    theirs = [inputs for _, episode in expected for inputs in episode]
    assert len(ours) == len(theirs) == 10 * MAX_STEPS // chunk
    for mine, stock in zip(ours, theirs, strict=True):
        for name in stock:
            assert torch.equal(mine[name], stock[name]), name

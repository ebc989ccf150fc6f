"""Imagined decisions: drawn from the behaviour policy, with its density, credited by a critic."""

import pytest
import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer

from pirl.algorithms import PiRLConfig
from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.pi_rl.approach import STEPS
from pirl.algorithms.pi_rl.imagination import Imagination, preferred_actions
from pirl.algorithms.pi_rl.optimisation import Optimisation
from pirl.algorithms.pi_rl.optimizers import annealed
from pirl.envs.scene_state import SCENE_DIM
from tests.algorithms.pi_rl.small import update
from tests.algorithms.rollouts import batch_of, commands, record_episodes, store
from tests.policies.tiny import make_observation, make_policy, make_xvla

SETTINGS = {
    "advantage": "action_value",
    "critic_input": "scene",
    "bootstrap_timeouts": False,
    "stochastic_steps": "last",
    "critic_memory": 2,
    "episodes_per_update": 4,
    "minibatch_size": 6,
    "imagined_decisions": 5,
}
# Where an approach holds x of the first offset.
X = SCENE_DIM + STEPS


def make(policy=None, **settings):
    torch.manual_seed(0)
    algorithm = make_algorithm(PiRLConfig(**(SETTINGS | settings)), policy or make_xvla())
    algorithm.commands = commands
    return algorithm


@pytest.mark.parametrize("correlation", [0.0, 0.9, 1.0])
@pytest.mark.parametrize(("variant", "mode"), [("flow_sde", "ee6d"), ("flow_noise", "auto")])
def test_what_was_done_has_the_density_it_was_drawn_with(variant, mode, correlation):
    algorithm = make(make_xvla(mode), variant=variant, noise_correlation=correlation)
    batch, policy = batch_of(algorithm), algorithm.stochastic
    rows = torch.arange(batch.size)
    stored = batch.stored(rows)
    done = {"ending": stored["chain"][:, None, -1]}
    if "gripper" in stored:
        done["gripper"] = stored["gripper"][:, None]
    again = policy.evaluate_imagined(policy.ending(batch.context(rows), stored), done)
    first = policy.evaluate(batch.context(rows), stored)
    torch.testing.assert_close(again.log_prob, first.log_prob)
    torch.testing.assert_close(again.entropy, first.entropy)
    torch.testing.assert_close(again.gripper_entropy, first.gripper_entropy)


def test_draws_scatter_as_the_behaviour_policy_does_and_leave_the_rest_alone():
    algorithm = make(noise_scale=[1.0] * 3 + [0.0] * 7, executed_dims=10, noise_correlation=1.0)
    batch, policy = batch_of(algorithm), algorithm.stochastic
    rows, horizon = torch.arange(batch.size), algorithm.chunk_size
    context, stored = batch.context(rows), batch.stored(rows)
    noise = torch.randn(batch.size, 4000, algorithm.flow.horizon, algorithm.flow.model_dims)
    uniform = torch.rand(batch.size, 4000, horizon, len(algorithm.flow.binary_dims))
    ending = policy.ending(context, stored)
    drawn = policy.imagine(ending, stored, noise, uniform)["ending"]
    noisy = drawn[:, :, :horizon, :3]
    torch.testing.assert_close(noisy.std(1).mean(), ending.std[:, :horizon, :3].mean(), rtol=0.03, atol=0)
    torch.testing.assert_close(noisy.mean(1), ending.mean[:, :horizon, :3], atol=0.05, rtol=0)
    kept = stored["chain"][:, None, -1, :, 3:].expand(-1, 4000, -1, -1)
    assert torch.equal(drawn[..., 3:], kept)


def test_a_critic_that_tells_nothing_apart_changes_nothing():
    settings = {"noise_scale": [1.0] * 3 + [0.0] * 7, "executed_dims": 10, "noise_correlation": 1.0}
    algorithm = make(objective="preferred", imagined_decisions=4, imagined_spread=2.0, **settings)
    batch, flow = batch_of(algorithm), algorithm.flow
    rows = torch.arange(batch.size)
    actions, _ = preferred_actions(batch, commands, lambda inputs: torch.zeros(inputs.shape[:-1]))
    ending = algorithm.stochastic.ending(batch.context(rows), batch.stored(rows))
    around = flow.finish(ending.mean)[:, : flow.executed_steps, :3]
    torch.testing.assert_close(actions[..., :3], around, atol=1e-5, rtol=0)


def test_credit_goes_to_the_draws_that_a_critic_prefers():
    algorithm = make(imagined_decisions=64)
    imagination = Imagination(batch_of(algorithm), commands)

    def critic(inputs):  # likes a first position far along x
        return inputs[..., X]

    advantages = imagination.advantages(critic)
    torch.testing.assert_close(advantages.mean(1), torch.zeros(len(advantages)), atol=1e-5, rtol=0)
    best = advantages.argmax(1)
    liked = imagination.inputs[..., X]
    assert torch.equal(liked.argmax(1), best) and (advantages.std(1) > 0).all()


def test_preferred_actions_lean_to_what_a_critic_likes_and_stay_within_what_was_imagined():
    noisy = {"noise_scale": [1.0] * 3 + [0.0] * 7, "executed_dims": 10, "noise_correlation": 1.0}
    algorithm = make(make_xvla("ee6d"), imagined_decisions=64, **noisy)
    batch, made = batch_of(algorithm), {}
    for temperature in (1e-3, 1e3):
        batch.config.preference_temperature = temperature
        torch.manual_seed(1)
        made[temperature], _ = preferred_actions(batch, commands, lambda inputs: inputs[..., X])
    likes, indifferent = made[1e-3], made[1e3]
    assert ((likes - indifferent)[:, 0, 0] > 0).all()
    torch.testing.assert_close(likes[..., 3:9], indifferent[..., 3:9])
    assert ((likes[..., 9] >= 0) & (likes[..., 9] <= 1)).all()


def test_wider_draws_are_for_imitation_alone():
    for setting in ("imagined_spread", "imagined_gripper_temperature"):
        with pytest.raises(ValueError, match=setting):
            make(**{setting: 2.0})
    wide = make(imagined_decisions=64, imagined_spread=3.0, objective="preferred", preference_temperature=0.1)
    narrow = make(imagined_decisions=64, objective="preferred", preference_temperature=0.1)
    reach = []
    for algorithm in (narrow, wide):
        torch.manual_seed(2)
        _, advantages = preferred_actions(batch_of(algorithm), commands, lambda inputs: inputs[..., X])
        reach.append(advantages.std())
    torch.testing.assert_close(reach[1] / reach[0], torch.tensor(3.0), rtol=0.1, atol=0)


def test_an_imagined_gripper_changes_earlier_or_later_and_is_weighted_back():
    algorithm = make(make_xvla("ee6d"), objective="preferred", imagined_gripper_temperature=3.0)
    batch, policy = batch_of(algorithm), algorithm.stochastic
    rows = torch.arange(batch.size)
    stored, ending = batch.stored(rows), policy.ending(batch.context(rows), batch.stored(rows))
    dim = algorithm.flow.binary_dims[0]
    slope = torch.linspace(-4.0, 4.0, algorithm.chunk_size)
    ending.output.prediction[:, : algorithm.chunk_size, dim] = slope
    noise = torch.zeros(batch.size, 4000, algorithm.flow.horizon, algorithm.flow.model_dims)
    uniform = torch.rand(batch.size, 4000, algorithm.chunk_size, 1)
    closed = policy.imagine(ending, stored, noise, uniform)["gripper"][..., 0]
    assert (closed.diff(dim=-1) >= 0).all()  # one change at most in each
    assert set(closed.sum(-1).flatten().tolist()) == {float(n) for n in range(algorithm.chunk_size + 1)}
    weights = torch.softmax(policy.log_weight(uniform), dim=1)
    flat = torch.einsum("bm,bmh->bh", weights, closed)
    torch.testing.assert_close(flat, torch.sigmoid(slope).expand_as(flat), atol=0.05, rtol=0)
    torch.testing.assert_close(closed.mean(1), torch.sigmoid(slope / 3).expand_as(flat), atol=0.05, rtol=0)


def test_a_gripper_that_is_sure_is_told_better_by_a_critic():
    settings = {"objective": "preferred", "imagined_decisions": 256, "preference_temperature": 0.01}
    for wide, told in ((None, False), (3.0, True)):
        algorithm = make(make_xvla("ee6d"), imagined_gripper_temperature=wide, **settings)
        batch, dim = batch_of(algorithm), algorithm.flow.binary_dims[0]
        ending = algorithm.stochastic.ending

        def sure(context, stored, ending=ending, dim=dim):
            step = ending(context, stored)
            step.output.prediction[..., dim] = 6.0
            return step

        def with_gripper(actions, dim=dim):
            return torch.cat([actions[..., :6], 2 * actions[..., [dim]] - 1], dim=-1)

        algorithm.stochastic.ending = sure
        actions, _ = preferred_actions(batch, with_gripper, lambda inputs: -inputs[..., SCENE_DIM])
        assert bool((actions[..., dim] < 0.5).all()) is told


def guided(guidance=1.0, **settings):
    algorithm = make(make_xvla("ee6d"), objective="preferred", guidance=guidance, **settings)
    algorithm.critic = LikesX()
    algorithm.policy_version = 1
    return algorithm, make_observation(algorithm.policy, 64), torch.zeros(64, SCENE_DIM)


class LikesX(torch.nn.Module):
    def forward(self, inputs):
        return inputs[..., X]


def test_a_critic_that_has_learnt_guides_the_actors():
    algorithm, observation, scenes = guided(imagined_decisions=64, preference_temperature=1e-3)
    alone, led = algorithm.act(observation), algorithm.act(observation, scenes)
    assert (led.action[:, 0, 0] > alone.action[:, 0, 0]).float().mean() > 0.9
    algorithm.policy_version = 0
    unfitted = algorithm.act(observation, scenes)
    assert abs(unfitted.action[:, 0, 0].mean() - alone.action[:, 0, 0].mean()) < 0.1


def test_an_indifferent_critic_leads_to_the_mean_not_to_a_draw():
    algorithm, observation, scenes = guided(imagined_decisions=256, stochastic_steps="last")
    algorithm.critic = lambda inputs: torch.zeros(inputs.shape[:-1])
    decision = algorithm.act(observation, scenes)
    stored = decision.complementary_info
    context = algorithm.stochastic.encode(observation)
    noise = torch.zeros(64, 1, algorithm.flow.horizon, algorithm.flow.model_dims)
    uniform = torch.zeros(64, 1, algorithm.chunk_size, 1)
    ending = algorithm.stochastic.ending(context, stored)
    mean = algorithm.stochastic.imagine(ending, stored, noise, uniform)["ending"][:, 0]
    one = algorithm.stochastic.imagine(ending, stored, noise + 1, uniform)["ending"][:, 0]
    off = (stored["chain"][:, -1] - mean).abs().max()
    assert off < 0.5 * (one - mean).abs().max()


@pytest.mark.parametrize("variant", ["flow_sde", "flow_noise"])
def test_a_guided_decision_tells_its_own_density(variant):
    algorithm, observation, scenes = guided(variant=variant)
    decision = algorithm.act(observation, scenes)
    stored = decision.complementary_info
    again = algorithm.stochastic.evaluate(algorithm.stochastic.encode(observation), stored)
    torch.testing.assert_close(again.log_prob, stored["log_prob"])
    made = algorithm.flow.finish(stored["chain"][:, -1], stored["gripper"])
    torch.testing.assert_close(made, decision.action)


def test_without_chances_a_share_of_the_decisions_is_guided():
    algorithm, observation, scenes = guided(0.25, imagined_decisions=64, preference_temperature=1e-3)
    torch.manual_seed(4)
    mixed = algorithm.act(observation, scenes)
    torch.manual_seed(4)
    algorithm.policy_version = 0
    alone = algorithm.act(observation, scenes)
    same = (mixed.action == alone.action).all((1, 2))
    assert 0.5 < same.float().mean() < 0.95
    for key, entries in alone.complementary_info.items():
        assert torch.equal(mixed.complementary_info[key][same], entries[same])


def test_an_episode_is_led_as_a_whole_or_not_at_all():
    algorithm, observation, scenes = guided(0.25, imagined_decisions=64, preference_temperature=1e-3)
    chances = torch.arange(64) / 64
    torch.manual_seed(4)
    mixed = algorithm.act(observation, scenes, chances)
    torch.manual_seed(4)
    alone = algorithm.act(observation)
    led = (mixed.action != alone.action).any(2).any(1)
    assert torch.equal(led, chances < 0.25)
    assert torch.equal(mixed.complementary_info["led"], led.float())
    assert not alone.complementary_info["led"].any()


def test_success_is_told_apart_by_who_decided():
    algorithm = make(objective="preferred", guidance=0.5)
    transitions = record_episodes(algorithm, episodes=6, decisions=3)  # 0, 2 and 4 succeed
    for transition in transitions:
        episode = int(transition["complementary_info"]["episode_id"])
        transition["complementary_info"]["led"] = torch.tensor([float(episode in (0, 1, 2))])
    stats = update(algorithm, store(transitions))
    assert stats["rollout/success_rate_led"] == pytest.approx(2 / 3)
    assert stats["rollout/success_rate_alone"] == pytest.approx(1 / 3)
    unguided = make(objective="preferred")
    assert "rollout/success_rate_alone" not in update(unguided)


def test_guidance_ends_when_it_has_decayed():
    settings = {"imagined_decisions": 64, "preference_temperature": 1e-3, "guidance_decay_updates": 4}
    algorithm, observation, scenes = guided(**settings)
    led = []
    for version in range(6):
        algorithm.policy_version = version
        decisions = []
        for seen in (scenes, None):
            torch.manual_seed(4)
            decisions.append(algorithm.act(observation, seen).action)
        led.append(float((decisions[0] != decisions[1]).any(2).any(1).float().mean()))
    assert led[0] == led[4] == led[5] == 0.0
    assert led[1] > led[2] > led[3] > 0.0
    assert abs(led[2] - 0.5) < 0.2


def test_actors_receive_the_critic_that_guides_them():
    learner = make(objective="preferred", guidance=1.0)
    update(learner)
    actor = make(objective="preferred", guidance=1.0)
    actor.load_weights(learner.get_weights())
    observation, scenes = make_observation(actor.policy, 4), torch.rand(4, SCENE_DIM)
    decisions = []
    for algorithm in (learner, actor):
        torch.manual_seed(3)
        decisions.append(algorithm.act(observation, scenes).action)
    torch.testing.assert_close(*decisions)
    assert "critic" not in make(objective="preferred").get_weights()


def test_ppo_cannot_be_guided():
    with pytest.raises(ValueError, match="guidance"):
        make(guidance=1.0)


@pytest.mark.parametrize("objective", ["ppo", "preferred"])
@pytest.mark.parametrize("policy_type", ["pi0", "pi05", "smolvla", "xvla"])
def test_every_policy_is_updated(policy_type, objective):
    algorithm = make(make_policy(policy_type), actor_lr=1e-3, objective=objective)
    before = {name: p.detach().clone() for name, p in algorithm.policy.named_parameters()}
    stats = update(algorithm)
    assert stats["policy/approx_kl"] > 0 and stats["advantage/std"] > 0
    assert {"loss/value", "value/explained_variance", "grad_norm/critic"} <= stats.keys()
    assert any(not torch.equal(p, before[name]) for name, p in algorithm.policy.named_parameters())


def test_decisions_of_earlier_updates_are_reconsidered(monkeypatch):
    algorithm = make(objective="preferred", decision_memory=2, actor_lr=1e-3)
    lessons = []
    imitate = Optimisation.imitate
    monkeypatch.setattr(
        Optimisation, "imitate", lambda self, given: (lessons.append(given.lessons), imitate(self, given))
    )
    buffer = ReplayBuffer(64, device="cpu", use_drq=False)
    iterator = algorithm.configure_data_iterator(OnlineOfflineMixer(buffer), 8)
    for seed in range(3):
        store(record_episodes(algorithm, seed=1000 * seed), buffer)
        algorithm.update(iterator)
    assert [len(given) for given in lessons] == [1, 2, 2]
    first, again = lessons[0][0], lessons[1][0]
    assert again.batch is first.batch and not torch.equal(again.actions, first.actions)
    assert lessons[2][0].batch is lessons[1][1].batch
    assert first.batch.raw["state"] == {}


@pytest.mark.parametrize(("focus", "least", "most"), [(0.0, 0.4, 0.6), (1.0, 1.0, 1.0)])
def test_focus_imitates_where_most_is_at_stake(monkeypatch, focus, least, most):
    algorithm = make(objective="preferred", imitation_focus=focus, epochs=8)
    imitate, imitate_rows, seen = Optimisation.imitate, Optimisation._imitate, []

    def nothing_at_stake_in_the_first_half(self, lessons):
        lessons.stakes = (torch.arange(lessons.latest.size) >= lessons.latest.size // 2).float()
        imitate(self, lessons)

    def note(self, lessons, rows):
        seen.append((rows >= lessons.latest.size // 2).float())
        imitate_rows(self, lessons, rows)

    monkeypatch.setattr(Optimisation, "imitate", nothing_at_stake_in_the_first_half)
    monkeypatch.setattr(Optimisation, "_imitate", note)
    update(algorithm)
    assert least <= torch.cat(seen).mean() <= most


def test_the_rate_falls_within_an_update():
    algorithm = make(objective="preferred", actor_lr=1e-3, lr_warmup_steps=0, lr_final_fraction=0.0, epochs=4)
    stats = update(algorithm)
    assert stats["lr/actor"] == pytest.approx(1e-3 * annealed(7 / 8, "cosine", 0.0))


def test_it_says_what_it_lacks():
    algorithm = make()
    algorithm.commands = None
    with pytest.raises(RuntimeError, match="commands"):
        update(algorithm)

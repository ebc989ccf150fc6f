"""Outcomes depend on policy, start and seed alone: not on workers, order or interruptions."""

from contextlib import closing
from dataclasses import replace

import pytest
import torch
from PIL import Image

from pirl.envs.workers import EnvWorkers
from pirl.evaluation.evaluator import FILM_STEPS, Evaluator, read_records
from pirl.evaluation.plan import official_episodes
from pirl.evaluation.randomness import Randomness

PLAN = official_episodes("libero_object", [0], 4)
CHUNK, MAX_STEPS = 8, 24


class NoisyPolicy:
    """Random actions; remembers what it decided, where."""

    def __init__(self):
        self.decisions = []

    def act(self, episode, observation):
        chunk = (0.3 * torch.randn(CHUNK, 7)).clamp(-1, 1).numpy()
        position = observation["robot_state"]["eef"]["pos"]
        self.decisions.append((*position.tolist(), *chunk.flatten().tolist()))
        return chunk


@pytest.fixture(scope="module")
def evaluate():
    pool = {}

    def evaluate(num_workers, plan, records_path):
        if num_workers not in pool:
            pool[num_workers] = EnvWorkers(
                num_workers, [("libero_object", 0)], chunk_size=CHUNK, max_steps=MAX_STEPS, cameras=()
            )
        policy = NoisyPolicy()
        evaluator = Evaluator(policy, pool[num_workers], seed=5)
        return evaluator.run(plan, records_path, "test"), policy.decisions

    yield evaluate
    for workers in pool.values():
        workers.close()


def test_workers_and_order_change_nothing(evaluate, tmp_path):
    _, alone = evaluate(1, PLAN, tmp_path / "one.jsonl")
    records, together = evaluate(2, PLAN[::-1], tmp_path / "two.jsonl")
    assert sorted(alone) == sorted(together)
    assert [record.start_index for record in records] == [3, 2, 1, 0]


def test_an_interrupted_evaluation_goes_on_where_it_stopped(evaluate, tmp_path):
    _, whole = evaluate(2, PLAN, tmp_path / "whole.jsonl")
    path = tmp_path / "torn.jsonl"
    _, before = evaluate(2, PLAN[:2], path)
    with open(path, "a") as file:
        file.write('{"suite": "libero_obj')
    records, after = evaluate(2, PLAN, path)
    assert sorted(before + after) == sorted(whole)
    assert [record.start_index for record in records] == [0, 1, 2, 3]
    assert len(read_records(path)) == 4


@pytest.mark.parametrize("chunk", [1, CHUNK])
def test_a_film_shows_more_than_decisions_and_changes_nothing(tmp_path, chunk):
    class Policy(NoisyPolicy):
        def act(self, episode, observation):
            return super().act(episode, observation)[:chunk]

    camera = {"cameras": ("agentview",), "height": 32, "width": 32}
    decisions, outcomes = [], []
    settings = {"chunk_size": CHUNK, "max_steps": MAX_STEPS, **camera}
    with closing(EnvWorkers(1, [("libero_object", 0)], **settings)) as workers:
        for videos in (0, 1):
            policy = Policy()
            evaluator = Evaluator(policy, workers, seed=5, video_dir=tmp_path / "films", videos=videos)
            records = evaluator.run(PLAN[:2], tmp_path / f"{videos}.jsonl", "test")
            decisions.append(policy.decisions)
            outcomes.append([replace(record, wall_s=0.0, video=None) for record in records])
    assert decisions[0] == decisions[1] and outcomes[0] == outcomes[1]
    assert [record.video is not None for record in records] == [True, False]
    with Image.open(tmp_path / "films" / records[0].video) as film:
        assert film.n_frames == 1 + MAX_STEPS // FILM_STEPS
        assert film.size == (32, 32)


def test_an_episodes_numbers_are_its_own():
    torch.manual_seed(1)
    expected_outside = torch.rand(4)
    expected_inside = torch.rand(4, generator=torch.Generator().manual_seed(7))
    torch.manual_seed(1)
    randomness, inside, outside = Randomness(7), [], []
    for _ in range(4):
        with randomness:
            inside.append(torch.rand(1))
        outside.append(torch.rand(1))
    assert torch.equal(torch.cat(inside), expected_inside)
    assert torch.equal(torch.cat(outside), expected_outside)

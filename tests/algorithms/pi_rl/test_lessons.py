"""Several updates' lessons as one."""

import pytest
import torch

from pirl.algorithms.pi_rl.lessons import Lesson, Lessons
from pirl.algorithms.processes import Processes


class Batch:
    """As many decisions as `size`, each encoded as its number within the update."""

    device = torch.device("cpu")
    micro_batch_size = 3

    def __init__(self, size, processes):
        self.size, self.processes = size, processes

    def context(self, rows):
        return {"tokens": rows[:, None].float()}


def make_lessons(processes, sizes=(5, 2, 4)):
    """Actions are a hundred times the update plus the number within it."""
    return Lessons(
        [
            Lesson(
                Batch(size, processes), 100.0 * update + torch.arange(size)[:, None, None], torch.ones(size)
            )
            for update, size in enumerate(sizes)
        ]
    )


def test_each_decision_is_looked_up_in_its_own_update():
    lessons = make_lessons(Processes())
    context, actions = lessons.look_up(lessons.numbers[torch.tensor([10, 0, 6, 4])])
    assert sorted(actions.flatten().tolist()) == [0.0, 4.0, 101.0, 203.0]
    assert torch.equal(context["tokens"].flatten(), actions.flatten() % 100)


@pytest.mark.parametrize("count", [2, 3])
def test_a_decision_stays_with_the_process_that_keeps_its_encoding(count):
    found = []
    for rank in range(count):
        processes = Processes()
        processes.count, processes.rank = count, rank
        lessons = make_lessons(processes)
        assert len(lessons.numbers) == len(lessons.stakes) == 11
        for piece, share in lessons.passes(lessons.numbers):
            context, actions = lessons.look_up(piece)
            assert (context["tokens"] % count == rank).all() and share == pytest.approx(len(piece) / 11)
            found += actions.flatten().tolist()
    assert sorted(found) == [*range(5), 100, 101, *range(200, 204)]

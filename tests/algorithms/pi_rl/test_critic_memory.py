"""The critic's memory: the latest updates, whole, and back from a checkpoint."""

import torch

from pirl.algorithms.pi_rl.critic_memory import CriticMemory

CPU = torch.device("cpu")


def filled(updates: int, sizes: list[int]) -> CriticMemory:
    memory = CriticMemory(updates, 3, CPU)
    for number, size in enumerate(sizes):
        memory.add(torch.full((size, 3), float(number)), torch.full((size,), float(number)))
    return memory


def test_the_oldest_update_makes_room():
    memory = filled(2, [4, 1, 2])
    assert memory.returns.tolist() == [1, 2, 2]
    assert memory.inputs[:, 0].tolist() == [1, 2, 2] and len(memory) == 3


def test_without_room_nothing_is_kept():
    assert len(filled(0, [4, 1])) == 0


def test_it_goes_on_where_it_was_saved():
    memory, restored = filled(2, [2, 3]), CriticMemory(2, 3, CPU)
    restored.load_state_dict(memory.state_dict())
    for each in (memory, restored):
        each.add(torch.full((1, 3), 9.0), torch.full((1,), 9.0))
    assert restored.returns.tolist() == memory.returns.tolist() == [1, 1, 1, 9]

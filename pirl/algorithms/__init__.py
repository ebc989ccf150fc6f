"""RL algorithms on LeRobot's `RLAlgorithm` contract; importing this package registers `pi_rl`."""

from pirl.algorithms.pi_rl.configuration import PiRLConfig

__all__ = ["PiRLConfig"]

"""Online reinforcement learning of flow-matching vision-language-action policies on LeRobot."""

__version__ = "0.1.0"

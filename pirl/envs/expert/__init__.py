"""Scripted expert: demonstrations from privileged state."""

from pirl.envs.expert.expert import ScriptedExpert

__all__ = ["ScriptedExpert"]

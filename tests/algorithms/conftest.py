"""Hypothesis without deadlines: on a shared machine, time says nothing about a case."""

from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

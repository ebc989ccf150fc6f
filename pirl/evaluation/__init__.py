"""Measuring policies in LIBERO: episodes, statistics, selection."""

"""Scripted demonstrations in LIBERO, written as LeRobotDataset v3."""

"""LIBERO at the speed of its physics: chunk-stepping environments that render only when a policy looks.

Nothing here imports torch, transformers or lerobot, so that environment workers start quickly.
"""

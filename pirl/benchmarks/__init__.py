"""Benchmarks behind `make bench-env` and `make bench-update`."""

"""Benchmarks of the whole line on real servers; `make bench` writes build/bench.json."""

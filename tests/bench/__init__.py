"""Benchmarks: `python -m tests.bench [NAME ...] [--quick]`. No test reads their figures."""

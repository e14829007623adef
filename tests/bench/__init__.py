"""Benchmarks: `python -m tests.bench [NAME ...] [--quick]`. Nothing here is a test, and no test reads its figures."""

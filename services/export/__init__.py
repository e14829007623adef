"""The nightly export: a job. It writes totals or entries to BigQuery, a bucket or PostgreSQL, and ends.

`python -m services.export` runs it, as `libra export` does from a machine. What a snapshot is, and why it is
complete or absent, is in `shared.exports`. docs/exports.md has the rest.
"""

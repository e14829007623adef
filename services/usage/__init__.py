"""Usage metering: applications count in Redis, a job books the counts into PostgreSQL.

`tracker` is for applications, `flush` is the job. docs/usage.md has the rest.
"""

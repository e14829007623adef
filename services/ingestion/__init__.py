"""A door: GA4 events from BigQuery and files from SFTP, into PostgreSQL, per tenant, as jobs.

`jobs` is the table that an API fills and a worker empties. `parts` replaces one part in one transaction.
"""

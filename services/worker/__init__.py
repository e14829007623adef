"""The worker: a door. It pulls events from Pub/Sub and has the intake admit them into Firestore.

`python -m services.worker` runs it. `messages` decodes, `door` settles each message of a source, `pulling` is
Pub/Sub's streaming pull. What counts and when is decided in `shared.intake`. docs/worker.md has the rest.
"""

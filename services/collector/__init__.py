"""The collector: events over HTTP, for sources that Libra writes itself.

`main` is what uvicorn serves. `body` reads requests. `doors` passes valid events on, to Pub/Sub or straight
into Firestore, and gives each event its verdict. `access`, `keyring` and `throttle` say who may send how
much.
"""

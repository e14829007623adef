"""The API: totals, freshness, explanations and runs over HTTP. A thin edge around `shared.windows`.

`main` is what uvicorn serves. It reads Firestore and starts recomputes; it counts nothing itself.
"""

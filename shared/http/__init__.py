"""What every service that speaks HTTP shares, and no function: errors, bounds, identity, health, the schema.

`application` makes the FastAPI application of a service. `edge` stands around it. `problems` are its errors,
`identity` says who calls, `reading` checks what the environment says.
"""

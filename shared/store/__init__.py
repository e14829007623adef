"""What Libra asks of a document store, in three modules.

`documents` is the vocabulary: documents, writes, queries and the promises of a `Store`. It imports nothing of
Google's and is what `shared.store` itself offers. `client` is the one door to Firestore; `messages` and
`values` are its encoding.
"""

from shared.store.documents import (
    DOCUMENT_ID,
    Create,
    Delete,
    Document,
    FieldPath,
    Filter,
    GeoPoint,
    Merge,
    Operator,
    Query,
    Reference,
    Store,
    Write,
    quote,
)

__all__ = [
    "DOCUMENT_ID",
    "Create",
    "Delete",
    "Document",
    "FieldPath",
    "Filter",
    "GeoPoint",
    "Merge",
    "Operator",
    "Query",
    "Reference",
    "Store",
    "Write",
    "quote",
]

"""What Google charges, in one place: list prices in US dollars, as read in November 2026.

Firestore, standard edition: https://cloud.google.com/firestore/pricing (native mode, by location). The page
https://firebase.google.com/docs/firestore/pricing lists the same for the multi-region in the United States,
and half of that for a region such as Oregon.
Functions of the 2nd generation are Cloud Run services: https://cloud.google.com/run/pricing (tier 1
regions, billed by request). Events of Google's own sources are delivered by Eventarc at no charge:
https://cloud.google.com/eventarc/pricing. Free quotas are not deducted. Prices differ
by location: check yours.
"""

from dataclasses import dataclass

AS_OF = "November 2026"


@dataclass(frozen=True)
class Prices:
    """US dollars."""

    where: str
    """The location of the database, as Google names it."""
    reads: float
    """A hundred thousand documents read."""
    writes: float
    """A hundred thousand documents written."""
    deletes: float
    """A hundred thousand documents deleted, by a TTL policy too."""
    requests: float = 0.40
    """A million requests to a function."""
    cpu_second: float = 0.000024
    """A second of a virtual CPU."""
    gib_second: float = 0.0000025
    """A second of a GiB of memory."""


LOCATIONS = {
    prices.where: prices
    for prices in (
        Prices("nam5", reads=0.06, writes=0.18, deletes=0.02),
        Prices("us-central1", reads=0.03, writes=0.09, deletes=0.01),
    )
}

"""A shop whose data ingestion loads: a GA4 export of three weeks in BigQuery, and files for an SFTP server.

The export has what a real one has: a day without a table, rows that cannot be loaded, an intraday table for
today, and events that come late. The shop knows how many rows each table and file holds.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from local.ga4 import Export, row

DAYS = 21
MISSING = 4
"""How many days ago the day was that has no table."""
ROWS = 200
"""Events of a day. One of them cannot be loaded: of fewer, that would be more than the ceiling allows."""
LATE_DAYS = 3
LATE_ROWS = 15
USERS, PLACES, LEFT, JOINED = 300, 12, 4, 25


class Shop:
    """Writes its export and its files, and counts them.

    Attributes:
        first, last: the days of the export; the last one is today.
        days: how many that are.
        held: how many rows there are now, by type and day; for a file by its kind and its date.
        bad: how many of them cannot be loaded.
    """

    def __init__(self, folder: Path, today: date, days: int = DAYS) -> None:
        """Nothing is written yet.

        Args:
            folder: where its files go.
            today: in the time zone of its GA4 property, which is UTC.
            days: how many days the export has.
        """
        self.first, self.last = today - timedelta(days=days - 1), today
        self.days = days
        self.held: Counter[tuple[str, date]] = Counter()
        self.bad: Counter[tuple[str, date]] = Counter()
        self._folder = folder

    def write(self, export: Export) -> None:
        """Write every table, and the files of yesterday."""
        for number in range(self.days):
            day = self.last - timedelta(days=number)
            if number != MISSING:
                export.write(self._table(day), self._events(day))
        self._write_users(self.last - timedelta(days=1), range(USERS))
        places = [f"l{number},Store {number},Zürich,CH,47.37,8.54" for number in range(PLACES)]
        self._write("locations", self.last, "location_id,name,city,country,latitude,longitude", places)

    def change(self, export: Export) -> None:
        """Events of the last days come late, and a new file lacks some users and has others."""
        for number in range(LATE_DAYS):
            day = self.last - timedelta(days=number)
            late = [row(day, ROWS + each) for each in range(LATE_ROWS)]
            self.held.update((each["event_name"], day) for each in late)
            export.add(self._table(day), late)
        self._write_users(self.last, range(LEFT, USERS + JOINED))

    def _table(self, day: date) -> str:
        return f"events_{'intraday_' if day == self.last else ''}{day:%Y%m%d}"

    def _events(self, day: date) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            made = row(day, number, None if number else "page_view")
            if not number:  # a parameter that is there twice
                made["event_params"] *= 2
                self.bad["page_view", day] += 1
            self.held[made["event_name"], day] += 1
            yield made

    def _write_users(self, day: date, numbers: range) -> None:
        lines = [f"u{each},u{each}@shop.example,Zoë,l{each % PLACES},2026-01-31" for each in numbers]
        self._write("users", day, "user_id,email,name,location_id,created_on", [*lines, "u-bad,,,,31.1."])
        self.bad["users", day] = 1

    def _write(self, kind: str, day: date, header: str, lines: list[str]) -> None:
        """The file appears whole: the server may be asked for it at any time."""
        self.held[kind, day] = len(lines)
        part = self._folder / f".{kind}"
        part.write_text("\n".join((header, *lines, "")), encoding="utf-8")
        part.rename(self._folder / f"{kind}_{day}.csv")

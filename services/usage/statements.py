"""What the books say to PostgreSQL.

A part and its total change in one statement: `RETURNING old` and `new` (PostgreSQL 18) give the gain. Rows
are taken in the order of their keys, so that two flushes wait for each other and never for ever.

Parts come as arrays in PostgreSQL's binary format (`%b`): the driver writes it three times as fast as text.
A part that is in its row already is left out before the join: an `ON CONFLICT` that changes nothing still
locks the row, and so writes the page and the log. Rows never fall, so what is left out was booked.
"""

_NAME = "merchant_id, date, metric_type, hour, incarnation"
_PARTS = "%b::text[], %b::date[], %b::text[], %b::timestamptz[], %b::text[], %b::bigint[]"

ADD = """
INSERT INTO merchant_usage AS usage (merchant_id, date, metric_type, metric_value)
SELECT merchant_id, date, metric_type, sum(gain) FROM joined GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (merchant_id, date, metric_type)
  DO UPDATE SET metric_value = usage.metric_value + excluded.metric_value
"""
"""Adds the gains in `joined` to the totals."""

_BOOKED = f"""LEFT JOIN LATERAL (
    SELECT value AS booked FROM usage_part
    WHERE ({_NAME}) = (given.merchant_id, given.date, given.metric_type, given.hour, given.incarnation)
    OFFSET 0
  ) part ON true"""  # noqa: S608 - constants
"""The row of a given part. `OFFSET 0`: by the index, part by part, however large the table is."""
_INSERT = f"""
  INSERT INTO usage_part AS part ({_NAME}, value)
  SELECT {_NAME}, value FROM given ORDER BY {_NAME}
  ON CONFLICT ({_NAME})"""  # noqa: S608 - constants
_GAIN = "RETURNING new.merchant_id, new.date, new.metric_type, new.value - coalesce(old.value, 0) AS gain"

JOIN = f"""
WITH given AS (
  SELECT {_NAME}, value FROM unnest({_PARTS}) AS given({_NAME}, value)
  {_BOOKED} WHERE value > coalesce(booked, -1)
), joined AS ({_INSERT} DO UPDATE SET value = greatest(part.value, excluded.value)
    WHERE part.value < excluded.value
  {_GAIN}
), added AS ({ADD})
SELECT count(*), coalesce(sum(gain), 0)::bigint FROM joined
"""  # noqa: S608 - constants

_ASIDE = f"usage_aside aside LEFT JOIN usage_part part USING ({_NAME})"
_DUE = "coalesce(greatest(aside.value - coalesce(part.value, 0) - admitted - forgotten, 0), 0)"
_STANDS = f"(forgotten_at IS NULL OR {_DUE} > 0)"

DUE = f"""
SELECT aside.id, aside.merchant_id, aside.metric_type, {_DUE} FROM {_ASIDE}
WHERE {_DUE} > 0
ORDER BY aside.id FOR UPDATE OF aside
"""  # noqa: S608 - constants

ADMIT = f"""
WITH given AS (
  SELECT * FROM unnest({_PARTS}) AS given({_NAME}, value)
), joined AS ({_INSERT} DO UPDATE SET value = part.value + excluded.value
  {_GAIN}
), added AS ({ADD}), marked AS (
  UPDATE usage_aside SET admitted = admitted + given.value
  FROM unnest(%s::text[], %s::bigint[]) AS given(id, value) WHERE usage_aside.id = given.id
)
SELECT coalesce(sum(gain), 0)::bigint FROM joined
"""  # noqa: S608 - constants

RISING = f"""
SELECT number FROM unnest({_PARTS}) WITH ORDINALITY AS given({_NAME}, value, number)
  {_BOOKED} WHERE value > coalesce(booked, 0)
ORDER BY number
"""  # noqa: S608 - constants

LATE = f"""
INSERT INTO usage_aside AS aside (id, key, field, reason, raw, {_NAME}, value)
SELECT given.id, given.key, given.field, 'late: the hour was sealed', given.value::text, {_NAME}, given.value
FROM unnest({_PARTS}, %s::text[], %s::text[], %s::text[]) AS given({_NAME}, value, id, key, field)
LEFT JOIN usage_part part USING ({_NAME})
WHERE given.value > coalesce(part.value, 0)
ORDER BY given.id
ON CONFLICT (id) DO UPDATE SET value = excluded.value, raw = excluded.raw, reason = excluded.reason,
  last_seen = now(), merchant_id = excluded.merchant_id, date = excluded.date,
  metric_type = excluded.metric_type, hour = excluded.hour, incarnation = excluded.incarnation
WHERE coalesce(aside.value, 0) < excluded.value
"""  # noqa: S608 - constants

ASIDE = """
INSERT INTO usage_aside AS aside (id, key, field, reason, raw)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
  AS given(id, key, field, reason, raw)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, raw = excluded.raw, last_seen = now()
WHERE aside.value IS NULL
"""

READ_BACK = f"""
SELECT number FROM unnest({_PARTS}) WITH ORDINALITY AS given({_NAME}, value, number)
  {_BOOKED} WHERE booked >= value
ORDER BY number
"""  # noqa: S608 - constants

READ_ASIDE = """
SELECT number FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS given(id, value, number)
JOIN usage_aside aside USING (id) WHERE aside.value >= given.value
"""

DRIFT = """
SELECT merchant_id, date, metric_type, coalesce(parts.value, 0)::bigint, coalesce(usage.metric_value, 0)
FROM (SELECT merchant_id, date, metric_type, sum(value) AS value FROM usage_part GROUP BY 1, 2, 3) parts
FULL JOIN merchant_usage usage USING (merchant_id, date, metric_type)
WHERE coalesce(parts.value, 0) <> coalesce(usage.metric_value, 0)
ORDER BY 1, 2, 3
"""

REPAIR = f"""
WITH joined AS (
  SELECT * FROM unnest(%s::text[], %s::date[], %s::text[], %s::bigint[])
    AS given(merchant_id, date, metric_type, gain)
) {ADD}
"""  # noqa: S608 - constants

STANDING = f"""
SELECT aside.reason, count(*), sum({_DUE})::bigint FROM {_ASIDE} WHERE {_STANDS} GROUP BY 1 ORDER BY 1
"""  # noqa: S608 - constants

_ROW = f"aside.id, aside.key, aside.field, aside.raw, aside.reason, {_DUE}, aside.last_seen"

ROWS = f"SELECT {_ROW} FROM {_ASIDE} WHERE {_STANDS} ORDER BY aside.last_seen DESC, aside.id LIMIT %s"  # noqa: S608 - constants

NAMED = f"""
SELECT {_ROW} FROM {_ASIDE} WHERE {_STANDS} AND starts_with(aside.id, %s)
ORDER BY aside.id LIMIT 2 FOR UPDATE OF aside
"""  # noqa: S608 - constants

FORGET = """
UPDATE usage_aside SET forgotten = forgotten + %s, forgotten_at = now() WHERE id = %s AND value IS NOT NULL
"""
"""A late part stays, so that it is not admitted a second time when it comes again."""

DROP = "DELETE FROM usage_aside WHERE id = %s AND value IS NULL"

RECORD = """
INSERT INTO usage_run (kind, started_at, seconds, records, gained, errors, report)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

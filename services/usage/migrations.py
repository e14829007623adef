"""The tables of usage metering, as numbered steps. A step that was applied anywhere never changes."""

from shared.postgres import Migration

COMPONENT = "usage"

_EXISTING = Migration(
    1,
    "merchant_usage, also where one is there with rows",
    r"""
CREATE TABLE IF NOT EXISTS merchant_usage (
  merchant_id text NOT NULL,
  date date NOT NULL,
  metric_type text NOT NULL,
  metric_value bigint NOT NULL,
  PRIMARY KEY (merchant_id, date, metric_type)
);

DO $$
DECLARE
  found text;
  many bigint;
BEGIN
  SELECT string_agg(
    format('%s is %s', wanted.name, coalesce(format_type(a.atttypid, a.atttypmod), 'missing')), ', ')
  INTO found
  FROM (VALUES ('merchant_id', '{text,varchar}'::text[]), ('date', '{date}'),
    ('metric_type', '{text,varchar}'), ('metric_value', '{int2,int4,int8,numeric}')) AS wanted(name, types)
  LEFT JOIN pg_attribute a
    ON a.attrelid = 'merchant_usage'::regclass AND a.attname = wanted.name AND NOT a.attisdropped
  LEFT JOIN pg_type t ON t.oid = a.atttypid
  WHERE t.typname IS NULL OR NOT t.typname = ANY (wanted.types);
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'merchant_usage: % (allowed: text, date, text, a whole number)', found;
  END IF;

  SELECT string_agg(attname, ', ') INTO found FROM pg_attribute
  WHERE attrelid = 'merchant_usage'::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull
    AND NOT atthasdef AND attidentity = ''
    AND attname NOT IN ('merchant_id', 'date', 'metric_type', 'metric_value');
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'merchant_usage: % must have a value, and a flush has none: give it a default', found;
  END IF;

  SELECT count(*) INTO many FROM merchant_usage
  WHERE merchant_id IS NULL OR date IS NULL OR metric_type IS NULL OR metric_value IS NULL;
  IF many > 0 THEN
    RAISE EXCEPTION 'merchant_usage: % rows hold NULL in their key or metric_value', many;
  END IF;

  SELECT count(*), min(format('%s %s %s', merchant_id, date, metric_type)) INTO many, found
  FROM (SELECT merchant_id, date, metric_type FROM merchant_usage GROUP BY 1, 2, 3 HAVING count(*) > 1) twice;
  IF many > 0 THEN
    RAISE EXCEPTION 'merchant_usage: % keys have several rows, such as %: make them one', many, found;
  END IF;

  SELECT count(*) INTO many FROM merchant_usage WHERE metric_value <> trunc(metric_value);
  IF many > 0 THEN
    RAISE EXCEPTION 'merchant_usage: % rows hold a fraction in metric_value', many;
  END IF;

  IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'merchant_usage'::regclass AND attname = 'metric_value'
      AND atttypid <> 'bigint'::regtype) THEN
    ALTER TABLE merchant_usage ALTER COLUMN metric_value TYPE bigint;
  END IF;
  IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'merchant_usage'::regclass
      AND attname IN ('merchant_id', 'metric_type') AND atttypid <> 'text'::regtype) THEN
    ALTER TABLE merchant_usage ALTER COLUMN merchant_id TYPE text, ALTER COLUMN metric_type TYPE text;
  END IF;
  ALTER TABLE merchant_usage ALTER COLUMN merchant_id SET NOT NULL, ALTER COLUMN date SET NOT NULL,
    ALTER COLUMN metric_type SET NOT NULL, ALTER COLUMN metric_value SET NOT NULL;

  IF NOT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = 'merchant_usage'::regclass AND i.indisunique
      AND i.indpred IS NULL AND i.indnkeyatts = 3 AND i.indexprs IS NULL
      AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
        WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey::int2[])) = '{date,merchant_id,metric_type}'
  ) THEN
    CREATE UNIQUE INDEX merchant_usage_key ON merchant_usage (merchant_id, date, metric_type);
  END IF;
END $$;
""",
)

_PARTS = Migration(
    2,
    "parts, what is set aside, the watermark and the runs",
    """
CREATE TABLE usage_part (
  merchant_id text NOT NULL,
  date date NOT NULL,
  metric_type text NOT NULL,
  hour timestamptz NOT NULL,
  incarnation text NOT NULL,
  value bigint NOT NULL,
  PRIMARY KEY (merchant_id, date, metric_type, hour, incarnation)
);

INSERT INTO usage_part
SELECT merchant_id, date, metric_type, date::timestamp AT TIME ZONE 'UTC', 'before', metric_value
FROM merchant_usage;

CREATE TABLE usage_aside (
  id text PRIMARY KEY,
  key text NOT NULL,
  field text NOT NULL,
  reason text NOT NULL,
  raw text NOT NULL,
  merchant_id text,
  date date,
  metric_type text,
  hour timestamptz,
  incarnation text,
  value bigint,
  admitted bigint NOT NULL DEFAULT 0,
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE usage_state (one boolean PRIMARY KEY DEFAULT true CHECK (one), sealed_through timestamptz);
INSERT INTO usage_state DEFAULT VALUES;

CREATE TABLE usage_run (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  started_at timestamptz NOT NULL,
  seconds double precision NOT NULL,
  records bigint NOT NULL,
  gained bigint NOT NULL,
  errors bigint NOT NULL,
  report jsonb NOT NULL
);
""",
)

_VIEWS = Migration(
    3,
    "views by hour, day, week and month",
    """
CREATE VIEW merchant_usage_hours AS
SELECT part.merchant_id, part.date, part.hour, part.metric_type, sum(part.value)::bigint AS metric_value,
  coalesce(part.hour + interval '1 hour' <= max(state.sealed_through), false) AS sealed
FROM usage_part part CROSS JOIN usage_state state
GROUP BY part.merchant_id, part.date, part.hour, part.metric_type;

CREATE VIEW merchant_usage_days AS
SELECT merchant_id, date AS day, metric_type,
  sum(metric_value)::bigint AS metric_value, bool_and(sealed) AS sealed
FROM merchant_usage_hours GROUP BY 1, 2, 3;

CREATE VIEW merchant_usage_weeks AS
SELECT merchant_id, date_trunc('week', date)::date AS week, metric_type,
  sum(metric_value)::bigint AS metric_value, bool_and(sealed) AS sealed
FROM merchant_usage_hours GROUP BY 1, 2, 3;

CREATE VIEW merchant_usage_months AS
SELECT merchant_id, date_trunc('month', date)::date AS month, metric_type,
  sum(metric_value)::bigint AS metric_value, bool_and(sealed) AS sealed
FROM merchant_usage_hours GROUP BY 1, 2, 3;
""",
)

_SERVING = Migration(
    4,
    "an index of merchant_usage that ON CONFLICT can use",
    r"""
DO $$
DECLARE
  found text;
BEGIN
  CREATE TEMP TABLE keys ON COMMIT DROP AS
  SELECT i.indexrelid::regclass::text AS name, i.indisvalid, i.indimmediate
  FROM pg_index i WHERE i.indrelid = 'merchant_usage'::regclass AND i.indisunique
    AND i.indpred IS NULL AND i.indnkeyatts = 3 AND i.indexprs IS NULL
    AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
      WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey::int2[])) = '{date,merchant_id,metric_type}';

  SELECT min(name) INTO found FROM keys WHERE NOT indimmediate;
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'merchant_usage: the constraint % is deferrable, which ON CONFLICT cannot use:'
      ' ALTER TABLE merchant_usage DROP CONSTRAINT %, and an index takes its place', found, found;
  END IF;

  IF NOT EXISTS (SELECT FROM keys WHERE indisvalid) THEN
    CREATE UNIQUE INDEX ON merchant_usage (merchant_id, date, metric_type);
  END IF;
END $$;
""",
)

_FORGOTTEN = Migration(
    5,
    "what an operator has forgotten of a row that is set aside",
    """
ALTER TABLE usage_aside ADD COLUMN forgotten bigint NOT NULL DEFAULT 0, ADD COLUMN forgotten_at timestamptz;
""",
)

MIGRATIONS = (_EXISTING, _PARTS, _VIEWS, _SERVING, _FORGOTTEN)

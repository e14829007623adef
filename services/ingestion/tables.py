"""The tables, as numbered migrations. A migration that was released never changes: the next number does.

**Who may see what.** Every table has a column ``tenant`` and row-level security, also for its owner. Two
roles, neither of which can log in, are what a transaction works as (`books`):

- ``libra_tenant`` sees the rows of the tenant that the transaction has set, and no row if it has set none.
- ``libra_operator`` sees the jobs and the settings of all tenants, and no row of their data.
"""

from typing import LiteralString

from shared.postgres import Migration

COMPONENT = "ingestion"
TENANT_ROLE: LiteralString = "libra_tenant"
OPERATOR_ROLE: LiteralString = "libra_operator"
TENANT_SETTING: LiteralString = "libra.tenant"

_ROLES: LiteralString = """
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['libra_tenant', 'libra_operator'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- roles are of the whole server
    END;
    IF NOT pg_has_role(current_user, name, 'SET') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', name);
    END IF;
  END LOOP;
END $$;
"""

_JOBS: LiteralString = """
CREATE TABLE tenant_config (
  tenant text PRIMARY KEY CHECK (tenant ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  settings jsonb NOT NULL DEFAULT '{}',
  token_sha256 text,
  secrets jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN tenant_config.secrets IS 'by name: a reference to Secret Manager, or an AES-GCM envelope';

CREATE TABLE ingest_job (
  job_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant text NOT NULL REFERENCES tenant_config,
  kinds text[] NOT NULL,
  first date,
  last date,
  state text NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
  attempt integer NOT NULL DEFAULT 0,
  worker text,
  lease_until timestamptz,
  heartbeat_at timestamptz,
  timeout interval NOT NULL,
  cancel_requested boolean NOT NULL DEFAULT false,
  idempotency_key text,
  records jsonb NOT NULL DEFAULT '{}',
  error_code text,
  error_message text,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  UNIQUE (tenant, idempotency_key),
  UNIQUE (tenant, job_id),
  CHECK ((state IN ('queued', 'processing')) = (ended_at IS NULL))
);
CREATE INDEX ON ingest_job (requested_at) WHERE state IN ('queued', 'processing');
CREATE INDEX ON ingest_job (tenant, requested_at DESC, job_id);

CREATE TABLE ingest_part (
  tenant text NOT NULL,
  job_id uuid NOT NULL,
  kind text NOT NULL,
  day date,
  open boolean NOT NULL DEFAULT true,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'loaded', 'same', 'absent', 'failed')),
  source_rows bigint,
  loaded bigint,
  rejected bigint,
  error_code text,
  error_message text,
  FOREIGN KEY (tenant, job_id) REFERENCES ingest_job (tenant, job_id),
  UNIQUE NULLS NOT DISTINCT (job_id, kind, day)
);
CREATE UNIQUE INDEX ingest_part_open ON ingest_part (tenant, kind, day) NULLS NOT DISTINCT WHERE open;

CREATE TABLE ingest_book (
  tenant text NOT NULL,
  kind text NOT NULL,
  day date NOT NULL,
  job_id uuid NOT NULL,
  attempt integer NOT NULL,
  source text NOT NULL,
  source_rows bigint NOT NULL,
  loaded bigint NOT NULL,
  rejected bigint NOT NULL,
  sums jsonb NOT NULL,
  modified_at timestamptz,
  sha256 text,
  provisional boolean NOT NULL,
  loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant, kind, day),
  FOREIGN KEY (tenant, job_id) REFERENCES ingest_job (tenant, job_id),
  CHECK (source_rows = loaded + rejected)
);

CREATE TABLE ingest_rejected (
  tenant text NOT NULL,
  job_id uuid NOT NULL,
  kind text NOT NULL,
  day date NOT NULL,
  source text NOT NULL,
  line bigint NOT NULL,
  reason text NOT NULL,
  raw text NOT NULL,
  FOREIGN KEY (tenant, job_id) REFERENCES ingest_job (tenant, job_id)
);
CREATE INDEX ON ingest_rejected (tenant, job_id, kind, day, line);
"""

_GA4: LiteralString = """
CREATE TABLE ga4_common (
  tenant text NOT NULL,
  day date NOT NULL,
  event_timestamp bigint NOT NULL,
  event_at timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(event_timestamp / 1000000.0)) STORED,
  user_pseudo_id text,
  user_id text,
  session_id bigint,
  page_location text,
  page_title text,
  page_referrer text,
  device_category text,
  device_os text,
  country text,
  city text,
  source text,
  medium text,
  platform text,
  params jsonb NOT NULL,
  user_properties jsonb NOT NULL,
  items jsonb NOT NULL
);
CREATE TABLE ga4_purchase (LIKE ga4_common INCLUDING ALL, transaction_id text NOT NULL, currency text,
  value numeric, tax numeric, shipping numeric, coupon text, quantity bigint NOT NULL);
CREATE TABLE ga4_add_to_cart (LIKE ga4_common INCLUDING ALL, currency text, value numeric,
  quantity bigint NOT NULL);
CREATE TABLE ga4_page_view (LIKE ga4_common INCLUDING ALL, entrances bigint, engagement_time_msec bigint);
CREATE TABLE ga4_view_item (LIKE ga4_common INCLUDING ALL, currency text, value numeric);
CREATE TABLE ga4_view_search_results (LIKE ga4_common INCLUDING ALL, search_term text);
CREATE TABLE ga4_no_search_results (LIKE ga4_common INCLUDING ALL, search_term text);
DROP TABLE ga4_common;
"""

_FILES: LiteralString = """
CREATE TABLE ingest_user (
  tenant text NOT NULL,
  user_id text NOT NULL,
  email text,
  name text,
  location_id text,
  created_on date,
  other jsonb NOT NULL,
  file_day date NOT NULL,
  left_on date,
  PRIMARY KEY (tenant, user_id)
);
CREATE TABLE ingest_location (
  tenant text NOT NULL,
  location_id text NOT NULL,
  name text,
  city text,
  country text,
  latitude numeric,
  longitude numeric,
  other jsonb NOT NULL,
  file_day date NOT NULL,
  left_on date,
  PRIMARY KEY (tenant, location_id)
);
COMMENT ON COLUMN ingest_user.left_on IS 'the first file without the row; null: the latest has it';
COMMENT ON COLUMN ingest_location.left_on IS 'the first file without the row; null: the latest has it';
"""

_ISOLATION: LiteralString = """
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tenant_config', 'ingest_job', 'ingest_part', 'ingest_book', 'ingest_rejected',
    'ga4_purchase', 'ga4_add_to_cart', 'ga4_page_view', 'ga4_view_item', 'ga4_view_search_results',
    'ga4_no_search_results', 'ingest_user', 'ingest_location'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own_rows ON %I TO libra_tenant '
      'USING (tenant = current_setting(''libra.tenant'', true)) '
      'WITH CHECK (tenant = current_setting(''libra.tenant'', true))', name);
    IF name = 'tenant_config' THEN
      EXECUTE format('GRANT SELECT ON %I TO libra_tenant', name);
    ELSE
      EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO libra_tenant', name);
    END IF;
    IF name LIKE 'ga4_%' THEN
      EXECUTE format('CREATE INDEX ON %I (tenant, day)', name);
    END IF;
  END LOOP;
  FOREACH name IN ARRAY ARRAY['tenant_config', 'ingest_job', 'ingest_part'] LOOP
    EXECUTE format('CREATE POLICY all_tenants ON %I TO libra_operator USING (true) WITH CHECK (true)', name);
  END LOOP;
  GRANT SELECT, INSERT, UPDATE ON tenant_config TO libra_operator;
  GRANT SELECT, UPDATE ON ingest_job, ingest_part TO libra_operator;
END $$;
"""

_GIVEN_BACK: LiteralString = """
ALTER TABLE ingest_job ADD COLUMN asked jsonb, ADD COLUMN lost integer NOT NULL DEFAULT 0,
  ADD COLUMN leaving boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ingest_job.asked IS 'the request as it was sent; null: from before this column';
COMMENT ON COLUMN ingest_job.lost IS 'how many workers ended while they had the job, and were not told to';
COMMENT ON COLUMN ingest_job.leaving IS 'the worker that has the job was told to stop';
"""

MIGRATIONS = (
    Migration(1, "roles", _ROLES),
    Migration(2, "jobs and their books", _JOBS),
    Migration(3, "events of GA4", _GA4),
    Migration(4, "users and locations", _FILES),
    Migration(5, "isolation of tenants", _ISOLATION),
    Migration(6, "requests as they were sent, jobs given back", _GIVEN_BACK),
)

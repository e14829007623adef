"""The parameters of `deploy.sh`: from flags, the environment or a file, checked before the first call.

A flag wins over the environment, the environment over the file (`deploy.env` unless another is named),
the file over the default. What the functions read at run time is checked by their own `Settings`, so
that nothing can be deployed that would refuse to start. Over 300 lines because two thirds of them are one
table, which is read in one place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.catalog import sources
from shared.errors import SettingError
from shared.settings import Settings
from shared.watermark import check_lag

SEPARATOR = "@@"
"""Stands between variables in gcloud's --set-env-vars, whose own separator may occur in a value."""

MULTI_REGIONS = {"nam5": "us-", "nam7": "us-", "eur3": "europe-"}
"""Firestore's multi-regions, and what the name of a region that may serve each begins with
(https://cloud.google.com/firestore/docs/locations, 2026-11)."""


COUNTED = ("INFO", "DEBUG")
"""The log levels at which every line is written that a metric of deploy/monitoring counts."""

BOTH = ("trigger", "recompute")
"""The components that read `shared.settings`."""


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        variable: its name in the environment and in `deploy.env`.
        flag: its flag.
        default: its value when nothing else is given.
        allowed: a pattern that its whole value matches.
        meaning: what it is, for `--help`, the table of docs/operations.md and messages.
        read_by: the functions that read it or are deployed with it, and the steps that read it.
        runtime: whether the functions find it in their environment.
        not_by_firebase: what to do in place of it where `firebase deploy` cannot read it.
    """

    variable: str
    flag: str
    default: str
    allowed: str
    meaning: str
    read_by: tuple[str, ...]
    runtime: bool = False
    not_by_firebase: str = ""

    @property
    def choices(self) -> list[str]:
        """The values that there are, where they are a few words."""
        return self.allowed.split("|") if re.fullmatch(r"\w+(\|\w+)+", self.allowed) else []

    def for_firebase(self, value: str) -> str:
        """A value in Firebase's unit: it counts memory in MiB."""
        if self.allowed != _MEMORY:
            return value
        return str(int(value[:-2]) * (1024 if value.endswith("Gi") else 1))


_REGION = r"[a-z]+-[a-z]+\d{1,2}"
_COUNT = r"\d{1,4}"
_CHANNEL = r"(projects/[a-z0-9-]+/notificationChannels/)?\d+"
_VERSION = r"[A-Za-z0-9_-]{1,255}:(latest|\d+)"
_DATASET = r"[a-z][a-z0-9-]{4,28}[a-z0-9]\.[A-Za-z0-9_]+"
_MEMORY = r"(128|256|512)Mi|(1|2|4|8|16|32)Gi"


def _setting(variable: str, flag: str, default: str, meaning: str) -> Parameter:
    """One that `shared.settings` reads, and checks."""
    return Parameter(variable, flag, default, r".+", meaning, BOTH, runtime=True)


PARAMETERS = (
    Parameter(
        "GOOGLE_CLOUD_PROJECT",
        "--project",
        "",
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "the project's id, such as kitchen-prod",
        ("every step", *BOTH),
        runtime=True,
    ),
    Parameter("LIBRA_REGION", "--region", "", _REGION, "where the functions run, such as europe-west6", BOTH),
    Parameter(
        "LIBRA_LOCATION",
        "--location",
        "",
        f"{_REGION}|nam5|nam7|eur3",
        "where the database is: a region, nam5, nam7 or eur3; the functions' region by default",
        ("database", "trigger"),
    ),
    Parameter(
        "FIRESTORE_DATABASE",
        "--database",
        "(default)",
        r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]",
        "the database's id",
        ("database", "indexes", "rules", "board", "backup", *BOTH),
        runtime=True,
    ),
    Parameter(
        "LIBRA_TIME_ZONE",
        "--time-zone",
        "UTC",
        r".+",
        "the zone of hours, dates and the schedule; an IANA name",
        (*BOTH, "schedule"),
        runtime=True,
    ),
    _setting(
        "LIBRA_TIME_ACTION", "--time-action", "Served", "the action that hours and dates count; * for all"
    ),
    _setting(
        "LIBRA_LAG_SECONDS",
        "--lag-seconds",
        "600",
        "how far the watermark trails the clock, at least; a change takes two runs of `up`",
    ),
    _setting(
        "LIBRA_BUCKET_SECONDS",
        "--bucket-seconds",
        "600",
        "the length of a commit-time bucket; divides a day",
    ),
    _setting("LIBRA_GROUP_SIZE", "--group-size", "300", "the most entries that ride in one commit"),
    _setting(
        "LIBRA_LINGER_MS",
        "--linger-ms",
        "0",
        "the least time between the starts of two commits of an instance, in milliseconds",
    ),
    _setting(
        "LIBRA_MAX_LOSS",
        "--max-loss",
        "0.05",
        "the share of an aggregation's sum that a recompute may take away, from 0 to 1 (everything)",
    ),
    _setting("LIBRA_LOG_LEVEL", "--log-level", "INFO", "DEBUG, INFO, WARNING or ERROR"),
    Parameter(
        "THREADS",
        "--concurrency",
        "300",
        r"[1-9]\d{0,2}|1000",
        "events at once in one instance of a trigger, and the threads of a server that uses them",
        BOTH,
    ),
    Parameter(
        "LIBRA_EDITS",
        "--edits",
        "on",
        "on|off",
        "triggers for edits and deletions too; without them the next recompute counts what they changed",
        ("functions", "invokers"),
        not_by_firebase="leave libra-on-updated and libra-on-deleted out of its --only",
    ),
    Parameter("LIBRA_MEMORY", "--memory", "512Mi", _MEMORY, "each trigger's memory", ("trigger",)),
    Parameter("LIBRA_CPU", "--cpu", "1", r"[1248]", "CPUs of each function", BOTH),
    Parameter(
        "LIBRA_MIN_INSTANCES",
        "--min-instances",
        "0",
        _COUNT,
        "instances of the trigger of creations kept warm",
        ("trigger",),
    ),
    Parameter(
        "LIBRA_MAX_INSTANCES",
        "--max-instances",
        "5",
        r"[1-9]\d{0,3}",
        "instances of each trigger at most",
        ("trigger",),
    ),
    Parameter(
        "LIBRA_RECOMPUTE_MEMORY",
        "--recompute-memory",
        "1Gi",
        _MEMORY,
        "the recompute's memory",
        ("recompute",),
    ),
    Parameter(
        "LIBRA_SCHEDULE",
        "--schedule",
        "0 2 * * *",
        r"\S+( \S+){4}",
        "when the recompute runs, as in cron",
        ("schedule",),
    ),
    Parameter(
        "LIBRA_COMPACT_SCHEDULE",
        "--compact-schedule",
        "30 * * * *",
        r"off|\S+( \S+){4}",
        "when old buckets of totals are merged, as in cron; or off",
        ("schedule",),
        not_by_firebase='have Cloud Scheduler POST {"compact": true} to libra-recompute every hour',
    ),
    Parameter(
        "LIBRA_SCHEDULER_REGION",
        "--scheduler-region",
        "",
        _REGION,
        "where the schedule is kept; the functions' region by default",
        ("schedule",),
        not_by_firebase="it keeps the schedule in the functions' region",
    ),
    Parameter(
        "LIBRA_PITR",
        "--pitr",
        "keep",
        "on|off|keep",
        "point-in-time recovery: snapshots of seven days in place of one hour; costs storage",
        ("database",),
    ),
    Parameter(
        "LIBRA_BACKUP",
        "--backup",
        "keep",
        "daily|keep",
        "a backup of the database every day",
        ("backup",),
    ),
    Parameter(
        "LIBRA_BACKUP_RETENTION",
        "--backup-retention",
        "7d",
        r"[1-9]\d?d|[1-9]\d?w",
        "how long a backup is kept",
        ("backup",),
    ),
    Parameter(
        "LIBRA_RULES",
        "--rules",
        "create",
        "create|replace|keep",
        "security rules: create them where there are none, replace what is there, or keep out",
        ("rules",),
        not_by_firebase="it replaces the rules that are in force; leave `firestore` out of its --only",
    ),
    Parameter(
        "LIBRA_API",
        "--api",
        "off",
        "off|reader|writer",
        "the API on Cloud Run, which anybody reaches and tokens open; a writer may remove rejected records",
        ("recompute", "api"),
        not_by_firebase="./deploy.sh up --only=api deploys it; it starts no recompute that Firebase deployed",
    ),
    Parameter(
        "LIBRA_API_OPERATORS",
        "--api-operators",
        "",
        r"[^@\s,]+@[^@\s,]+(,[^@\s,]+@[^@\s,]+)*",
        "Google accounts, by commas, that are operators to the API",
        ("api",),
    ),
    Parameter(
        "LIBRA_API_ORIGINS",
        "--api-origins",
        "",
        r"[a-z-]+://[^\s,/*]+(,[a-z-]+://[^\s,/*]+)*",
        "origins, by commas, whose web pages may ask the API from a browser",
        ("api",),
    ),
    Parameter(
        "LIBRA_API_DEADLINE_SECONDS",
        "--api-deadline-seconds",
        "20",
        r"[1-9]\d?|[12]\d\d|300",
        "how long a request to the API may take",
        ("api",),
    ),
    Parameter(
        "LIBRA_API_MAX_INSTANCES",
        "--api-max-instances",
        "3",
        r"[1-9]\d{0,2}",
        "instances of the API at most",
        ("api",),
    ),
    Parameter(
        "LIBRA_API_USAGE_SECRET",
        "--api-usage-secret",
        "",
        _VERSION,
        "SECRET:VERSION in Secret Manager: PostgreSQL's address for the API, with a role that only reads; "
        "none given: the API reads no usage",
        ("services", "api"),
    ),
    Parameter(
        "LIBRA_COLLECTOR",
        "--collector",
        "off",
        "off|queue|direct",
        "the collector on Cloud Run: events go to Pub/Sub, or are counted before the answer",
        ("topics", "collector"),
        not_by_firebase="./deploy.sh up --only=topics,collector deploys it",
    ),
    Parameter(
        "LIBRA_COLLECTOR_ACCOUNTS",
        "--collector-accounts",
        "",
        r"[^@\s,]+@[^@\s,]+(,[^@\s,]+@[^@\s,]+)*",
        "Google accounts, by commas, that may send events to every source",
        ("collector",),
    ),
    Parameter(
        "LIBRA_COLLECTOR_ORIGINS",
        "--collector-origins",
        "",
        r"[a-z-]+://[^\s,/*]+(,[a-z-]+://[^\s,/*]+)*",
        "origins, by commas, whose web pages or extensions may send events from a browser",
        ("collector",),
    ),
    Parameter(
        "LIBRA_COLLECTOR_SIGNED_IN",
        "--collector-signed-in",
        "",
        r"[a-z_]+(,[a-z_]+)*",
        "sources, by commas, that anyone signed in to Firebase may send events to",
        ("collector",),
    ),
    Parameter(
        "LIBRA_COLLECTOR_RATE",
        "--collector-rate",
        "1000",
        r"[1-9]\d{0,4}|100000",
        "events a second that an instance takes of a caller whose API key says no other",
        ("collector",),
    ),
    Parameter(
        "LIBRA_COLLECTOR_DEADLINE_SECONDS",
        "--collector-deadline-seconds",
        "20",
        r"[1-9]\d?|[12]\d\d|300",
        "how long a request to the collector may take",
        ("collector",),
    ),
    Parameter(
        "LIBRA_COLLECTOR_MAX_INSTANCES",
        "--collector-max-instances",
        "3",
        r"[1-9]\d{0,2}",
        "instances of the collector at most",
        ("collector",),
    ),
    Parameter(
        "LIBRA_BOARD",
        "--board",
        "off",
        "off|on|replace",
        "the board on Firebase Hosting, which needs Node and the Firebase CLI's sign-in; replace: also where "
        "another page is served",
        ("services", "board"),
    ),
    Parameter(
        "LIBRA_WORKER",
        "--worker",
        "off",
        "off|on",
        "the worker on Cloud Run, which counts events from Pub/Sub, and the topics that it pulls",
        ("topics", "worker"),
        not_by_firebase="./deploy.sh up --only=topics,worker deploys it",
    ),
    Parameter(
        "LIBRA_WORKER_INSTANCES",
        "--worker-instances",
        "1",
        r"[1-9]\d?",
        "instances of the worker, always; few with large groups beat many",
        ("worker",),
    ),
    Parameter(
        "LIBRA_WORKER_MESSAGES",
        "--worker-messages",
        "1000",
        r"[1-9]\d{0,3}|10000",
        "messages of a source that are under way in an instance of the worker, at most",
        ("worker",),
    ),
    Parameter("LIBRA_WORKER_MEMORY", "--worker-memory", "512Mi", _MEMORY, "the worker's memory", ("worker",)),
    Parameter(
        "LIBRA_WAREHOUSE",
        "--warehouse",
        "off",
        "off|on",
        "events and totals in BigQuery: the dataset, and the topics that its pipeline pulls",
        ("services", "topics", "warehouse"),
        not_by_firebase="./deploy.sh up --only=services,topics,warehouse deploys it",
    ),
    Parameter(
        "LIBRA_WAREHOUSE_DATASET",
        "--warehouse-dataset",
        "libra",
        r"[A-Za-z0-9_]{1,1000}",
        "the dataset's name",
        ("warehouse", "stream"),
    ),
    Parameter(
        "LIBRA_PIPELINES",
        "--pipelines",
        "off",
        "off|on",
        "what jobs on Dataflow need: an account, a bucket, an image, a template; and the recompute by `beam`",
        ("services", "pipelines"),
        not_by_firebase="./deploy.sh up --only=services,pipelines deploys them",
    ),
    Parameter(
        "LIBRA_PIPELINES_WORKERS",
        "--pipelines-workers",
        "20",
        r"[1-9]\d{0,2}",
        "machines of a job on Dataflow at most",
        ("pipelines", "stream"),
    ),
    Parameter(
        "LIBRA_STREAM",
        "--stream",
        "off",
        "off|on",
        "keep the job running that streams events into the warehouse; needs --warehouse and --pipelines",
        ("stream",),
        not_by_firebase="./deploy.sh up --only=stream starts it",
    ),
    Parameter(
        "LIBRA_USAGE",
        "--usage",
        "off",
        "off|on",
        "the flush of usage into PostgreSQL, a Cloud Run job that a schedule starts",
        ("services", "usage"),
        not_by_firebase="./deploy.sh up --only=services,usage deploys it",
    ),
    Parameter(
        "LIBRA_USAGE_SCHEDULE",
        "--usage-schedule",
        "*/5 * * * *",
        r"\S+( \S+){4}",
        "when usage is flushed, as in cron; at least every two hours",
        ("usage",),
    ),
    Parameter(
        "LIBRA_REDIS_SECRET",
        "--redis-secret",
        "libra-redis:latest",
        _VERSION,
        "SECRET:VERSION in Secret Manager: the address of Redis, where applications count usage",
        ("usage",),
    ),
    Parameter(
        "LIBRA_POSTGRES_SECRET",
        "--postgres-secret",
        "libra-postgres:latest",
        _VERSION,
        "SECRET:VERSION in Secret Manager: the address of PostgreSQL, where usage is booked",
        ("usage",),
    ),
    Parameter(
        "LIBRA_USAGE_NETWORK",
        "--usage-network",
        "",
        r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*",
        "NETWORK/SUBNET, in the functions' region, through which the flush and the API reach Redis and "
        "PostgreSQL",
        ("api", "usage"),
    ),
    Parameter(
        "LIBRA_USAGE_CLOSE_SECONDS",
        "--usage-close-seconds",
        "3600",
        r"\d{1,4}|10[0-7]\d\d|10800",
        "how long after its end an hour of usage is sealed",
        ("usage",),
    ),
    Parameter(
        "LIBRA_USAGE_METRICS",
        "--usage-metrics",
        "",
        r"[^\s,@]{1,100}(,[^\s,@]{1,100})*",
        "metrics of usage that are declared, by commas; others are set aside; none given: any",
        ("usage",),
    ),
    Parameter(
        "LIBRA_INGESTION",
        "--ingestion",
        "off",
        "off|on",
        "ingestion into PostgreSQL: an API on Cloud Run, and a worker that a schedule starts",
        ("services", "ingestion"),
        not_by_firebase="./deploy.sh up --only=services,ingestion deploys it",
    ),
    Parameter(
        "LIBRA_INGESTION_SCHEDULE",
        "--ingestion-schedule",
        "*/10 * * * *",
        r"\S+( \S+){4}",
        "when a worker looks for jobs, as in cron; at least every 20 minutes, or alerts fire",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_POSTGRES_SECRET",
        "--ingestion-postgres-secret",
        "libra-postgres:latest",
        _VERSION,
        "SECRET:VERSION in Secret Manager: the address of PostgreSQL, where tenants' data go",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_KEY_SECRET",
        "--ingestion-key-secret",
        "",
        _VERSION,
        "SECRET:VERSION in Secret Manager: the key that seals tenants' secrets in the database; "
        "without one they are all in Secret Manager",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_TENANT_SECRETS",
        "--ingestion-tenant-secrets",
        "",
        r"[A-Za-z0-9_-]{1,255}(,[A-Za-z0-9_-]{1,255})*",
        "secrets in Secret Manager, by commas, that tenants' settings refer to; the worker reads no others",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_DATASETS",
        "--ingestion-datasets",
        "",
        rf"{_DATASET}(,{_DATASET})*",
        "PROJECT.DATASET, by commas: GA4 exports that the worker reads as its own account",
        ("services", "ingestion"),
    ),
    Parameter(
        "LIBRA_INGESTION_NETWORK",
        "--ingestion-network",
        "",
        r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*",
        "NETWORK/SUBNET that ingestion reaches PostgreSQL through, in the functions' region",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_PARALLEL",
        "--ingestion-parallel",
        "4",
        r"[1-9]|[12]\d|3[0-2]",
        "parts that a worker loads at once; each takes two connections to PostgreSQL",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_MEMORY",
        "--ingestion-memory",
        "1Gi",
        "512Mi|1Gi|2Gi|4Gi",
        "the worker's memory",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_REJECTED_DAYS",
        "--ingestion-rejected-days",
        "90",
        r"[1-9]\d{0,3}",
        "how long rejected rows are kept after their job ended",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_LATE_DAYS",
        "--ingestion-late-days",
        "3",
        r"[1-9]\d?|[12]\d\d|3[0-5]\d|36[0-5]",
        "how old a tenant's latest data may be before an alert says so",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_ACCOUNTS",
        "--ingestion-accounts",
        "",
        r"[^@\s,]+@[^@\s,]+(,[^@\s,]+@[^@\s,]+)*",
        "Google accounts, by commas, that may act for every tenant",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_ORIGINS",
        "--ingestion-origins",
        "",
        r"[a-z-]+://[^\s,/*]+(,[a-z-]+://[^\s,/*]+)*",
        "origins, by commas, whose web pages may ask the API of ingestion from a browser",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_DEADLINE_SECONDS",
        "--ingestion-deadline-seconds",
        "20",
        r"[1-9]\d?|[12]\d\d|300",
        "how long a request to the API of ingestion may take",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_INGESTION_MAX_INSTANCES",
        "--ingestion-max-instances",
        "3",
        r"[1-9]\d{0,2}",
        "instances of the API of ingestion at most; each takes eight connections to PostgreSQL",
        ("ingestion",),
    ),
    Parameter(
        "LIBRA_EXPORT",
        "--export",
        "off",
        r"off|bigquery:[A-Za-z0-9_]{1,1000}|gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._-]{1,100}){0,9}|"
        r"postgres(:[a-z_][a-z0-9_]{0,62})?",
        "where snapshots of totals or entries go every night: bigquery:DATASET of the project, "
        "gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA; or off",
        ("services", "export"),
        not_by_firebase="./deploy.sh up --only=services,export deploys it",
    ),
    Parameter(
        "LIBRA_EXPORT_WHAT",
        "--export-what",
        "libra-totals",
        r"[a-z_]+-(totals|entries)(,[a-z_]+-(totals|entries))*",
        "what is exported: SOURCE-totals and SOURCE-entries, by commas",
        ("export",),
    ),
    Parameter(
        "LIBRA_EXPORT_SCHEDULE",
        "--export-schedule",
        "30 2 * * *",
        r"\S+( \S+){4}",
        "when the export runs, as in cron; after the recompute",
        ("export",),
    ),
    Parameter(
        "LIBRA_EXPORT_SECRET",
        "--export-secret",
        "",
        r"[A-Za-z0-9_-]+:(latest|\d+)",
        "SECRET:VERSION in Secret Manager, which holds PostgreSQL's address; needed with --export=postgres",
        ("services", "export"),
    ),
    Parameter(
        "LIBRA_EXPORT_MEMORY",
        "--export-memory",
        "1Gi",
        "512Mi|1Gi|2Gi|4Gi",
        "the export's memory, in which a table waits for BigQuery",
        ("export",),
    ),
    Parameter(
        "LIBRA_MONITORING",
        "--monitoring",
        "on",
        "on|off",
        "metrics of the log lines, objectives, alert policies and a dashboard",
        ("metrics", "objectives", "alerts", "dashboard"),
    ),
    Parameter(
        "LIBRA_NOTIFY",
        "--notify",
        "",
        rf"{_CHANNEL}(,{_CHANNEL})*",
        "notification channels, by commas, that the alerts notify: ids or full names",
        ("alerts",),
    ),
    Parameter(
        "LIBRA_RUNBOOK",
        "--runbook",
        "docs/operations.md",
        r"[^\s#\"$]+",
        "where you read this page, such as the URL of docs/operations.md in your repository; alerts link it",
        ("alerts",),
    ),
    Parameter(
        "LIBRA_SECRETS",
        "--secrets",
        "",
        r"[A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\d+)(,[A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\d+))*",
        "VARIABLE=SECRET:VERSION, by commas: from Secret Manager into both functions",
        ("services", "accounts", *BOTH),
        not_by_firebase="deploy with ./deploy.sh up, or name them in functions.yaml",
    ),
)


class ParameterError(Exception):
    """A parameter cannot be used; the message says which, what was found and what is allowed."""


def read(
    flags: Mapping[str, str | None], environment: Mapping[str, str], file: Path, *, deployed: bool = False
) -> dict[str, str]:
    """Every parameter's value, checked; ``deployed``: also for what a test may do and production may not.

    Raises:
        ParameterError: naming the first one that cannot be used.
    """
    filed = read_file(file)
    values = {}
    for parameter in PARAMETERS:
        flag = flags.get(parameter.variable)
        found = environment.get(parameter.variable) or filed.get(parameter.variable) or parameter.default
        values[parameter.variable] = _checked(parameter, found if flag is None else flag)
    values["LIBRA_LOCATION"] = values["LIBRA_LOCATION"] or values["LIBRA_REGION"]
    values["LIBRA_SCHEDULER_REGION"] = values["LIBRA_SCHEDULER_REGION"] or values["LIBRA_REGION"]
    _check_together(values, deployed=deployed)
    return values


def read_file(file: Path) -> dict[str, str]:
    """The variables of a `deploy.env`: VARIABLE=VALUE lines, blank lines and comments; nothing is run.

    Raises:
        ParameterError: a line is something else, or names no parameter.
    """
    if not file.is_file():
        return {}
    known = {parameter.variable for parameter in PARAMETERS}
    found = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        variable, equals, value = text.partition("=")
        if not equals or variable.strip() not in known:
            raise ParameterError(
                f"{file}, line {number}: {text!r} is not VARIABLE=VALUE with a variable "
                f"among {', '.join(sorted(known))}"
            )
        found[variable.strip()] = value.strip().strip("\"'")
    return found


def _checked(parameter: Parameter, value: str) -> str:
    if value and not re.fullmatch(parameter.allowed, value):
        raise ParameterError(
            f"{parameter.flag} ({parameter.variable}) is {value!r}: {parameter.meaning}; "
            f"allowed is what matches {parameter.allowed}"
        )
    return value


def _check_together(values: Mapping[str, str], *, deployed: bool) -> None:
    region, location = values["LIBRA_REGION"], values["LIBRA_LOCATION"]
    if region and location != region and not region.startswith(MULTI_REGIONS.get(location, " ")):
        raise ParameterError(
            f"--region {region} with --location {location}: the functions must run in the database's region, "
            "or in a region of its multi-region (us-... for nam5 and nam7, europe-... for eur3)"
        )
    if deployed:
        _check_export(values)
        _check_reader(values)
    if deployed and values["LIBRA_MONITORING"] == "on" and values["LIBRA_LOG_LEVEL"] not in COUNTED:
        raise ParameterError(
            f"--log-level {values['LIBRA_LOG_LEVEL']} with --monitoring on: the metrics count lines of the "
            "level INFO, and the alerts would never see them; "
            f"say --log-level {' or '.join(COUNTED)}, or --monitoring off"
        )
    if values["LIBRA_STREAM"] == "on":
        for needed in ("warehouse", "pipelines"):
            if values[f"LIBRA_{needed.upper()}"] != "on":
                raise ParameterError(f"--stream on with --{needed} off: say --{needed} on, or --stream off")
    try:
        settings = Settings.from_environment(runtime(values))
        if deployed:
            check_lag(settings.lag, test=False)
    except SettingError as error:
        flags = {parameter.variable: parameter.flag for parameter in PARAMETERS}
        raise ParameterError(f"{flags.get(error.variable, error.variable)}: {error}") from error
    if SEPARATOR in "".join(runtime(values).values()):
        raise ParameterError(
            f"a value holds {SEPARATOR!r}, which stands between variables: {runtime(values)}"
        )


def _check_export(values: Mapping[str, str]) -> None:
    """What the job would refuse, or could not write to."""
    place, secret = values["LIBRA_EXPORT"], values["LIBRA_EXPORT_SECRET"]
    if place.startswith("postgres") != bool(secret) and place != "off":
        raise ParameterError(
            f"--export {place} with --export-secret {secret!r}: PostgreSQL's address is a secret, "
            "SECRET:VERSION, and BigQuery and a bucket have none"
        )
    if values["LIBRA_WAREHOUSE"] == "on" and place == f"bigquery:{values['LIBRA_WAREHOUSE_DATASET']}":
        raise ParameterError(
            f"--export {place}: the warehouse has views in this dataset; "
            f"name another one, such as {place}_totals"
        )
    known = [f"{name}-{what}" for name in sources(Settings()) for what in ("totals", "entries")]
    if unknown := [each for each in values["LIBRA_EXPORT_WHAT"].split(",") if each not in known]:
        raise ParameterError(
            f"--export-what {unknown[0]}: there is no such thing; there are {', '.join(known)}"
        )


def _check_reader(values: Mapping[str, str]) -> None:
    """The API must not be able to write bills."""
    given, flush = (values[it] for it in ("LIBRA_API_USAGE_SECRET", "LIBRA_POSTGRES_SECRET"))
    if values["LIBRA_API"] != "off" and given.partition(":")[0] == flush.partition(":")[0]:
        raise ParameterError(
            f"--api-usage-secret {given}: the flush reads this secret (--postgres-secret {flush}), and its "
            "role writes. Make a role that only reads, and a secret of its own: docs/usage.md#read"
        )


def runtime(values: Mapping[str, str]) -> dict[str, str]:
    """What the functions are given, THREADS aside."""
    return {parameter.variable: values[parameter.variable] for parameter in PARAMETERS if parameter.runtime}


def default(variable: str) -> str:
    """A parameter's default; raises StopIteration if there is no such parameter."""
    return next(it.default for it in PARAMETERS if it.variable == variable)


def table() -> str:
    """The parameters as a table in Markdown, which docs/operations.md holds."""
    rows = ["| flag | variable | default | what | read by |", "|---|---|---|---|---|"]
    for it in PARAMETERS:
        default = f"`{it.default}`" if it.default else ""
        if others := ", ".join(f"`{each}`" for each in it.choices if each != it.default):
            default += f"; or {others}"
        meaning = it.meaning.replace("*", r"\*").replace("|", r"\|")
        rows.append(f"| `{it.flag}` | `{it.variable}` | {default} | {meaning} | {', '.join(it.read_by)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201 - to paste into docs/operations.md

# Written by python -m deploy.variables from deploy/parameters.py: change that file.

variable "project_id" {
  description = "the project's id, such as kitchen-prod"
  type        = string

  validation {
    condition     = can(regex("^([a-z][a-z0-9-]{4,28}[a-z0-9])$", var.project_id))
    error_message = "project_id: the project's id, such as kitchen-prod; allowed is what matches [a-z][a-z0-9-]{4,28}[a-z0-9]."
  }
}

variable "region" {
  description = "where the functions run, such as europe-west6"
  type        = string

  validation {
    condition     = can(regex("^([a-z]+-[a-z]+\\d{1,2})$", var.region))
    error_message = "region: where the functions run, such as europe-west6; allowed is what matches [a-z]+-[a-z]+\\d{1,2}."
  }
}

variable "location" {
  description = "where the database is: a region, nam5, nam7 or eur3; the functions' region by default"
  type        = string
  default     = ""

  validation {
    condition     = var.location == "" || can(regex("^([a-z]+-[a-z]+\\d{1,2}|nam5|nam7|eur3)$", var.location))
    error_message = "location: where the database is: a region, nam5, nam7 or eur3; the functions' region by default; allowed is what matches [a-z]+-[a-z]+\\d{1,2}|nam5|nam7|eur3."
  }
}

variable "firestore_database" {
  description = "the database's id"
  type        = string
  default     = "(default)"

  validation {
    condition     = can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.firestore_database))
    error_message = "firestore_database: the database's id; allowed is what matches \\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9]."
  }
}

variable "time_zone" {
  description = "the zone of hours, dates and the schedule; an IANA name"
  type        = string
  default     = "UTC"
}

variable "time_action" {
  description = "the action that hours and dates count; * for all"
  type        = string
  default     = "Served"
}

variable "lag_seconds" {
  description = "how far the watermark trails the clock, at least; a change takes two runs of `up`"
  type        = string
  default     = "600"
}

variable "bucket_seconds" {
  description = "the length of a commit-time bucket; divides a day"
  type        = string
  default     = "600"
}

variable "group_size" {
  description = "the most entries that ride in one commit"
  type        = string
  default     = "300"
}

variable "linger_ms" {
  description = "the least time between the starts of two commits of an instance, in milliseconds"
  type        = string
  default     = "0"
}

variable "max_loss" {
  description = "the share of an aggregation's sum that a recompute may take away, from 0 to 1 (everything)"
  type        = string
  default     = "0.05"
}

variable "log_level" {
  description = "DEBUG, INFO, WARNING or ERROR"
  type        = string
  default     = "INFO"
}

variable "concurrency" {
  description = "events at once in one instance of a trigger, and the threads of a server that uses them"
  type        = string
  default     = "300"

  validation {
    condition     = can(regex("^([1-9]\\d{0,2}|1000)$", var.concurrency))
    error_message = "concurrency: events at once in one instance of a trigger, and the threads of a server that uses them; allowed is what matches [1-9]\\d{0,2}|1000."
  }
}

variable "edits" {
  description = "triggers for edits and deletions too; without them the next recompute counts what they changed"
  type        = bool
  default     = true
}

variable "memory_limit" {
  description = "each trigger's memory"
  type        = string
  default     = "512Mi"

  validation {
    condition     = can(regex("^((128|256|512)Mi|(1|2|4|8|16|32)Gi)$", var.memory_limit))
    error_message = "memory_limit: each trigger's memory; allowed is what matches (128|256|512)Mi|(1|2|4|8|16|32)Gi."
  }
}

variable "cpu_limit" {
  description = "CPUs of each function"
  type        = string
  default     = "1"

  validation {
    condition     = can(regex("^([1248])$", var.cpu_limit))
    error_message = "cpu_limit: CPUs of each function; allowed is what matches [1248]."
  }
}

variable "min_instances" {
  description = "instances of the trigger of creations kept warm"
  type        = string
  default     = "0"

  validation {
    condition     = can(regex("^(\\d{1,4})$", var.min_instances))
    error_message = "min_instances: instances of the trigger of creations kept warm; allowed is what matches \\d{1,4}."
  }
}

variable "max_instances" {
  description = "instances of each trigger at most"
  type        = string
  default     = "5"

  validation {
    condition     = can(regex("^([1-9]\\d{0,3})$", var.max_instances))
    error_message = "max_instances: instances of each trigger at most; allowed is what matches [1-9]\\d{0,3}."
  }
}

variable "recompute_memory" {
  description = "the recompute's memory"
  type        = string
  default     = "1Gi"

  validation {
    condition     = can(regex("^((128|256|512)Mi|(1|2|4|8|16|32)Gi)$", var.recompute_memory))
    error_message = "recompute_memory: the recompute's memory; allowed is what matches (128|256|512)Mi|(1|2|4|8|16|32)Gi."
  }
}

variable "schedule" {
  description = "when the recompute runs, as in cron"
  type        = string
  default     = "0 2 * * *"

  validation {
    condition     = can(regex("^(\\S+( \\S+){4})$", var.schedule))
    error_message = "schedule: when the recompute runs, as in cron; allowed is what matches \\S+( \\S+){4}."
  }
}

variable "compact_schedule" {
  description = "when old buckets of totals are merged, as in cron; or off"
  type        = string
  default     = "30 * * * *"

  validation {
    condition     = can(regex("^(off|\\S+( \\S+){4})$", var.compact_schedule))
    error_message = "compact_schedule: when old buckets of totals are merged, as in cron; or off; allowed is what matches off|\\S+( \\S+){4}."
  }
}

variable "scheduler_region" {
  description = "where the schedule is kept; the functions' region by default"
  type        = string
  default     = ""

  validation {
    condition     = var.scheduler_region == "" || can(regex("^([a-z]+-[a-z]+\\d{1,2})$", var.scheduler_region))
    error_message = "scheduler_region: where the schedule is kept; the functions' region by default; allowed is what matches [a-z]+-[a-z]+\\d{1,2}."
  }
}

variable "pitr" {
  description = "point-in-time recovery: snapshots of seven days in place of one hour; costs storage"
  type        = string

  validation {
    condition     = can(regex("^(on|off)$", var.pitr))
    error_message = "pitr: point-in-time recovery: snapshots of seven days in place of one hour; costs storage; allowed is what matches on|off."
  }
}

variable "backup" {
  description = "a backup of the database every day"
  type        = string
  default     = "keep"

  validation {
    condition     = can(regex("^(daily|keep)$", var.backup))
    error_message = "backup: a backup of the database every day; allowed is what matches daily|keep."
  }
}

variable "backup_retention" {
  description = "how long a backup is kept"
  type        = string
  default     = "7d"

  validation {
    condition     = can(regex("^([1-9]\\d?d|[1-9]\\d?w)$", var.backup_retention))
    error_message = "backup_retention: how long a backup is kept; allowed is what matches [1-9]\\d?d|[1-9]\\d?w."
  }
}

variable "rules" {
  description = "security rules: create them where there are none, replace what is there, or keep out"
  type        = string
  default     = "create"

  validation {
    condition     = can(regex("^(create|replace|keep)$", var.rules))
    error_message = "rules: security rules: create them where there are none, replace what is there, or keep out; allowed is what matches create|replace|keep."
  }
}

variable "api" {
  description = "the API on Cloud Run, which anybody reaches and tokens open; a writer may remove rejected records"
  type        = string
  default     = "off"

  validation {
    condition     = can(regex("^(off|reader|writer)$", var.api))
    error_message = "api: the API on Cloud Run, which anybody reaches and tokens open; a writer may remove rejected records; allowed is what matches off|reader|writer."
  }
}

variable "api_operators" {
  description = "Google accounts, by commas, that are operators to the API"
  type        = string
  default     = ""

  validation {
    condition     = var.api_operators == "" || can(regex("^([^@\\s,]+@[^@\\s,]+(,[^@\\s,]+@[^@\\s,]+)*)$", var.api_operators))
    error_message = "api_operators: Google accounts, by commas, that are operators to the API; allowed is what matches [^@\\s,]+@[^@\\s,]+(,[^@\\s,]+@[^@\\s,]+)*."
  }
}

variable "api_origins" {
  description = "origins, by commas, whose web pages may ask the API from a browser"
  type        = string
  default     = ""

  validation {
    condition     = var.api_origins == "" || can(regex("^([a-z-]+://[^\\s,/*]+(,[a-z-]+://[^\\s,/*]+)*)$", var.api_origins))
    error_message = "api_origins: origins, by commas, whose web pages may ask the API from a browser; allowed is what matches [a-z-]+://[^\\s,/*]+(,[a-z-]+://[^\\s,/*]+)*."
  }
}

variable "api_deadline_seconds" {
  description = "how long a request to the API may take"
  type        = string
  default     = "20"

  validation {
    condition     = can(regex("^([1-9]\\d?|[12]\\d\\d|300)$", var.api_deadline_seconds))
    error_message = "api_deadline_seconds: how long a request to the API may take; allowed is what matches [1-9]\\d?|[12]\\d\\d|300."
  }
}

variable "api_max_instances" {
  description = "instances of the API at most"
  type        = string
  default     = "3"

  validation {
    condition     = can(regex("^([1-9]\\d{0,2})$", var.api_max_instances))
    error_message = "api_max_instances: instances of the API at most; allowed is what matches [1-9]\\d{0,2}."
  }
}

variable "api_usage_secret" {
  description = "SECRET:VERSION in Secret Manager: PostgreSQL's address for the API, with a role that only reads; none given: the API reads no usage"
  type        = string
  default     = ""

  validation {
    condition     = var.api_usage_secret == "" || can(regex("^([A-Za-z0-9_-]{1,255}:(latest|\\d+))$", var.api_usage_secret))
    error_message = "api_usage_secret: SECRET:VERSION in Secret Manager: PostgreSQL's address for the API, with a role that only reads; none given: the API reads no usage; allowed is what matches [A-Za-z0-9_-]{1,255}:(latest|\\d+)."
  }
}

variable "collector" {
  description = "the collector on Cloud Run: events go to Pub/Sub, or are counted before the answer"
  type        = string
  default     = "off"

  validation {
    condition     = can(regex("^(off|queue|direct)$", var.collector))
    error_message = "collector: the collector on Cloud Run: events go to Pub/Sub, or are counted before the answer; allowed is what matches off|queue|direct."
  }
}

variable "collector_accounts" {
  description = "Google accounts, by commas, that may send events to every source"
  type        = string
  default     = ""

  validation {
    condition     = var.collector_accounts == "" || can(regex("^([^@\\s,]+@[^@\\s,]+(,[^@\\s,]+@[^@\\s,]+)*)$", var.collector_accounts))
    error_message = "collector_accounts: Google accounts, by commas, that may send events to every source; allowed is what matches [^@\\s,]+@[^@\\s,]+(,[^@\\s,]+@[^@\\s,]+)*."
  }
}

variable "collector_origins" {
  description = "origins, by commas, whose web pages or extensions may send events from a browser"
  type        = string
  default     = ""

  validation {
    condition     = var.collector_origins == "" || can(regex("^([a-z-]+://[^\\s,/*]+(,[a-z-]+://[^\\s,/*]+)*)$", var.collector_origins))
    error_message = "collector_origins: origins, by commas, whose web pages or extensions may send events from a browser; allowed is what matches [a-z-]+://[^\\s,/*]+(,[a-z-]+://[^\\s,/*]+)*."
  }
}

variable "collector_signed_in" {
  description = "sources, by commas, that anyone signed in to Firebase may send events to"
  type        = string
  default     = ""

  validation {
    condition     = var.collector_signed_in == "" || can(regex("^([a-z_]+(,[a-z_]+)*)$", var.collector_signed_in))
    error_message = "collector_signed_in: sources, by commas, that anyone signed in to Firebase may send events to; allowed is what matches [a-z_]+(,[a-z_]+)*."
  }
}

variable "collector_rate" {
  description = "events a second that an instance takes of a caller whose API key says no other"
  type        = string
  default     = "1000"

  validation {
    condition     = can(regex("^([1-9]\\d{0,4}|100000)$", var.collector_rate))
    error_message = "collector_rate: events a second that an instance takes of a caller whose API key says no other; allowed is what matches [1-9]\\d{0,4}|100000."
  }
}

variable "collector_deadline_seconds" {
  description = "how long a request to the collector may take"
  type        = string
  default     = "20"

  validation {
    condition     = can(regex("^([1-9]\\d?|[12]\\d\\d|300)$", var.collector_deadline_seconds))
    error_message = "collector_deadline_seconds: how long a request to the collector may take; allowed is what matches [1-9]\\d?|[12]\\d\\d|300."
  }
}

variable "collector_max_instances" {
  description = "instances of the collector at most"
  type        = string
  default     = "3"

  validation {
    condition     = can(regex("^([1-9]\\d{0,2})$", var.collector_max_instances))
    error_message = "collector_max_instances: instances of the collector at most; allowed is what matches [1-9]\\d{0,2}."
  }
}

variable "board" {
  description = "the board on Firebase Hosting, which needs Node and the Firebase CLI's sign-in; replace: also where another page is served"
  type        = string
  default     = "off"

  validation {
    condition     = can(regex("^(off|on)$", var.board))
    error_message = "board: the board on Firebase Hosting, which needs Node and the Firebase CLI's sign-in; replace: also where another page is served; allowed is what matches off|on."
  }
}

variable "worker" {
  description = "the worker on Cloud Run, which counts events from Pub/Sub, and the topics that it pulls"
  type        = bool
  default     = false
}

variable "worker_instances" {
  description = "instances of the worker, always; few with large groups beat many"
  type        = string
  default     = "1"

  validation {
    condition     = can(regex("^([1-9]\\d?)$", var.worker_instances))
    error_message = "worker_instances: instances of the worker, always; few with large groups beat many; allowed is what matches [1-9]\\d?."
  }
}

variable "worker_messages" {
  description = "messages of a source that are under way in an instance of the worker, at most"
  type        = string
  default     = "1000"

  validation {
    condition     = can(regex("^([1-9]\\d{0,3}|10000)$", var.worker_messages))
    error_message = "worker_messages: messages of a source that are under way in an instance of the worker, at most; allowed is what matches [1-9]\\d{0,3}|10000."
  }
}

variable "worker_memory" {
  description = "the worker's memory"
  type        = string
  default     = "512Mi"

  validation {
    condition     = can(regex("^((128|256|512)Mi|(1|2|4|8|16|32)Gi)$", var.worker_memory))
    error_message = "worker_memory: the worker's memory; allowed is what matches (128|256|512)Mi|(1|2|4|8|16|32)Gi."
  }
}

variable "warehouse" {
  description = "events and totals in BigQuery: the dataset, and the topics that its pipeline pulls"
  type        = bool
  default     = false
}

variable "warehouse_dataset" {
  description = "the dataset's name"
  type        = string
  default     = "libra"

  validation {
    condition     = can(regex("^([A-Za-z0-9_]{1,1000})$", var.warehouse_dataset))
    error_message = "warehouse_dataset: the dataset's name; allowed is what matches [A-Za-z0-9_]{1,1000}."
  }
}

variable "pipelines" {
  description = "what jobs on Dataflow need: an account, a bucket, an image, a template; and the recompute by `beam`"
  type        = bool
  default     = false
}

variable "pipelines_workers" {
  description = "machines of a job on Dataflow at most"
  type        = string
  default     = "20"

  validation {
    condition     = can(regex("^([1-9]\\d{0,2})$", var.pipelines_workers))
    error_message = "pipelines_workers: machines of a job on Dataflow at most; allowed is what matches [1-9]\\d{0,2}."
  }
}

variable "stream" {
  description = "keep the job running that streams events into the warehouse; needs --warehouse and --pipelines"
  type        = bool
  default     = false
}

variable "usage" {
  description = "the flush of usage into PostgreSQL, a Cloud Run job that a schedule starts"
  type        = bool
  default     = false
}

variable "usage_schedule" {
  description = "when usage is flushed, as in cron; at least every two hours"
  type        = string
  default     = "*/5 * * * *"

  validation {
    condition     = can(regex("^(\\S+( \\S+){4})$", var.usage_schedule))
    error_message = "usage_schedule: when usage is flushed, as in cron; at least every two hours; allowed is what matches \\S+( \\S+){4}."
  }
}

variable "redis_secret" {
  description = "SECRET:VERSION in Secret Manager: the address of Redis, where applications count usage"
  type        = string
  default     = "libra-redis:latest"

  validation {
    condition     = can(regex("^([A-Za-z0-9_-]{1,255}:(latest|\\d+))$", var.redis_secret))
    error_message = "redis_secret: SECRET:VERSION in Secret Manager: the address of Redis, where applications count usage; allowed is what matches [A-Za-z0-9_-]{1,255}:(latest|\\d+)."
  }
}

variable "postgres_secret" {
  description = "SECRET:VERSION in Secret Manager: the address of PostgreSQL, where usage is booked"
  type        = string
  default     = "libra-postgres:latest"

  validation {
    condition     = can(regex("^([A-Za-z0-9_-]{1,255}:(latest|\\d+))$", var.postgres_secret))
    error_message = "postgres_secret: SECRET:VERSION in Secret Manager: the address of PostgreSQL, where usage is booked; allowed is what matches [A-Za-z0-9_-]{1,255}:(latest|\\d+)."
  }
}

variable "usage_network" {
  description = "NETWORK/SUBNET, in the functions' region, through which the flush and the API reach Redis and PostgreSQL"
  type        = string
  default     = ""

  validation {
    condition     = var.usage_network == "" || can(regex("^([a-z][a-z0-9-]*/[a-z][a-z0-9-]*)$", var.usage_network))
    error_message = "usage_network: NETWORK/SUBNET, in the functions' region, through which the flush and the API reach Redis and PostgreSQL; allowed is what matches [a-z][a-z0-9-]*/[a-z][a-z0-9-]*."
  }
}

variable "usage_close_seconds" {
  description = "how long after its end an hour of usage is sealed"
  type        = string
  default     = "3600"

  validation {
    condition     = can(regex("^(\\d{1,4}|10[0-7]\\d\\d|10800)$", var.usage_close_seconds))
    error_message = "usage_close_seconds: how long after its end an hour of usage is sealed; allowed is what matches \\d{1,4}|10[0-7]\\d\\d|10800."
  }
}

variable "usage_metrics" {
  description = "metrics of usage that are declared, by commas; others are set aside; none given: any"
  type        = string
  default     = ""

  validation {
    condition     = var.usage_metrics == "" || can(regex("^([^\\s,@]{1,100}(,[^\\s,@]{1,100})*)$", var.usage_metrics))
    error_message = "usage_metrics: metrics of usage that are declared, by commas; others are set aside; none given: any; allowed is what matches [^\\s,@]{1,100}(,[^\\s,@]{1,100})*."
  }
}

variable "ingestion" {
  description = "ingestion into PostgreSQL: an API on Cloud Run, and a worker that a schedule starts"
  type        = bool
  default     = false
}

variable "ingestion_schedule" {
  description = "when a worker looks for jobs, as in cron; at least every 20 minutes, or alerts fire"
  type        = string
  default     = "*/10 * * * *"

  validation {
    condition     = can(regex("^(\\S+( \\S+){4})$", var.ingestion_schedule))
    error_message = "ingestion_schedule: when a worker looks for jobs, as in cron; at least every 20 minutes, or alerts fire; allowed is what matches \\S+( \\S+){4}."
  }
}

variable "ingestion_postgres_secret" {
  description = "SECRET:VERSION in Secret Manager: the address of PostgreSQL, where tenants' data go"
  type        = string
  default     = "libra-postgres:latest"

  validation {
    condition     = can(regex("^([A-Za-z0-9_-]{1,255}:(latest|\\d+))$", var.ingestion_postgres_secret))
    error_message = "ingestion_postgres_secret: SECRET:VERSION in Secret Manager: the address of PostgreSQL, where tenants' data go; allowed is what matches [A-Za-z0-9_-]{1,255}:(latest|\\d+)."
  }
}

variable "ingestion_key_secret" {
  description = "SECRET:VERSION in Secret Manager: the key that seals tenants' secrets in the database; without one they are all in Secret Manager"
  type        = string
  default     = ""

  validation {
    condition     = var.ingestion_key_secret == "" || can(regex("^([A-Za-z0-9_-]{1,255}:(latest|\\d+))$", var.ingestion_key_secret))
    error_message = "ingestion_key_secret: SECRET:VERSION in Secret Manager: the key that seals tenants' secrets in the database; without one they are all in Secret Manager; allowed is what matches [A-Za-z0-9_-]{1,255}:(latest|\\d+)."
  }
}

variable "ingestion_tenant_secrets" {
  description = "secrets in Secret Manager, by commas, that tenants' settings refer to; the worker reads no others"
  type        = string
  default     = ""

  validation {
    condition     = var.ingestion_tenant_secrets == "" || can(regex("^([A-Za-z0-9_-]{1,255}(,[A-Za-z0-9_-]{1,255})*)$", var.ingestion_tenant_secrets))
    error_message = "ingestion_tenant_secrets: secrets in Secret Manager, by commas, that tenants' settings refer to; the worker reads no others; allowed is what matches [A-Za-z0-9_-]{1,255}(,[A-Za-z0-9_-]{1,255})*."
  }
}

variable "ingestion_datasets" {
  description = "PROJECT.DATASET, by commas: GA4 exports that the worker reads as its own account"
  type        = string
  default     = ""

  validation {
    condition     = var.ingestion_datasets == "" || can(regex("^([a-z][a-z0-9-]{4,28}[a-z0-9]\\.[A-Za-z0-9_]+(,[a-z][a-z0-9-]{4,28}[a-z0-9]\\.[A-Za-z0-9_]+)*)$", var.ingestion_datasets))
    error_message = "ingestion_datasets: PROJECT.DATASET, by commas: GA4 exports that the worker reads as its own account; allowed is what matches [a-z][a-z0-9-]{4,28}[a-z0-9]\\.[A-Za-z0-9_]+(,[a-z][a-z0-9-]{4,28}[a-z0-9]\\.[A-Za-z0-9_]+)*."
  }
}

variable "ingestion_network" {
  description = "NETWORK/SUBNET that ingestion reaches PostgreSQL through, in the functions' region"
  type        = string
  default     = ""

  validation {
    condition     = var.ingestion_network == "" || can(regex("^([a-z][a-z0-9-]*/[a-z][a-z0-9-]*)$", var.ingestion_network))
    error_message = "ingestion_network: NETWORK/SUBNET that ingestion reaches PostgreSQL through, in the functions' region; allowed is what matches [a-z][a-z0-9-]*/[a-z][a-z0-9-]*."
  }
}

variable "ingestion_parallel" {
  description = "parts that a worker loads at once; each takes two connections to PostgreSQL"
  type        = string
  default     = "4"

  validation {
    condition     = can(regex("^([1-9]|[12]\\d|3[0-2])$", var.ingestion_parallel))
    error_message = "ingestion_parallel: parts that a worker loads at once; each takes two connections to PostgreSQL; allowed is what matches [1-9]|[12]\\d|3[0-2]."
  }
}

variable "ingestion_memory" {
  description = "the worker's memory"
  type        = string
  default     = "1Gi"

  validation {
    condition     = can(regex("^(512Mi|1Gi|2Gi|4Gi)$", var.ingestion_memory))
    error_message = "ingestion_memory: the worker's memory; allowed is what matches 512Mi|1Gi|2Gi|4Gi."
  }
}

variable "ingestion_rejected_days" {
  description = "how long rejected rows are kept after their job ended"
  type        = string
  default     = "90"

  validation {
    condition     = can(regex("^([1-9]\\d{0,3})$", var.ingestion_rejected_days))
    error_message = "ingestion_rejected_days: how long rejected rows are kept after their job ended; allowed is what matches [1-9]\\d{0,3}."
  }
}

variable "ingestion_late_days" {
  description = "how old a tenant's latest data may be before an alert says so"
  type        = string
  default     = "3"

  validation {
    condition     = can(regex("^([1-9]\\d?|[12]\\d\\d|3[0-5]\\d|36[0-5])$", var.ingestion_late_days))
    error_message = "ingestion_late_days: how old a tenant's latest data may be before an alert says so; allowed is what matches [1-9]\\d?|[12]\\d\\d|3[0-5]\\d|36[0-5]."
  }
}

variable "ingestion_accounts" {
  description = "Google accounts, by commas, that may act for every tenant"
  type        = string
  default     = ""

  validation {
    condition     = var.ingestion_accounts == "" || can(regex("^([^@\\s,]+@[^@\\s,]+(,[^@\\s,]+@[^@\\s,]+)*)$", var.ingestion_accounts))
    error_message = "ingestion_accounts: Google accounts, by commas, that may act for every tenant; allowed is what matches [^@\\s,]+@[^@\\s,]+(,[^@\\s,]+@[^@\\s,]+)*."
  }
}

variable "ingestion_origins" {
  description = "origins, by commas, whose web pages may ask the API of ingestion from a browser"
  type        = string
  default     = ""

  validation {
    condition     = var.ingestion_origins == "" || can(regex("^([a-z-]+://[^\\s,/*]+(,[a-z-]+://[^\\s,/*]+)*)$", var.ingestion_origins))
    error_message = "ingestion_origins: origins, by commas, whose web pages may ask the API of ingestion from a browser; allowed is what matches [a-z-]+://[^\\s,/*]+(,[a-z-]+://[^\\s,/*]+)*."
  }
}

variable "ingestion_deadline_seconds" {
  description = "how long a request to the API of ingestion may take"
  type        = string
  default     = "20"

  validation {
    condition     = can(regex("^([1-9]\\d?|[12]\\d\\d|300)$", var.ingestion_deadline_seconds))
    error_message = "ingestion_deadline_seconds: how long a request to the API of ingestion may take; allowed is what matches [1-9]\\d?|[12]\\d\\d|300."
  }
}

variable "ingestion_max_instances" {
  description = "instances of the API of ingestion at most; each takes eight connections to PostgreSQL"
  type        = string
  default     = "3"

  validation {
    condition     = can(regex("^([1-9]\\d{0,2})$", var.ingestion_max_instances))
    error_message = "ingestion_max_instances: instances of the API of ingestion at most; each takes eight connections to PostgreSQL; allowed is what matches [1-9]\\d{0,2}."
  }
}

variable "export" {
  description = "where snapshots of totals or entries go every night: bigquery:DATASET of the project, gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA; or off"
  type        = string
  default     = "off"

  validation {
    condition     = can(regex("^(off|bigquery:[A-Za-z0-9_]{1,1000}|gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._-]{1,100}){0,9}|postgres(:[a-z_][a-z0-9_]{0,62})?)$", var.export))
    error_message = "export: where snapshots of totals or entries go every night: bigquery:DATASET of the project, gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA; or off; allowed is what matches off|bigquery:[A-Za-z0-9_]{1,1000}|gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._-]{1,100}){0,9}|postgres(:[a-z_][a-z0-9_]{0,62})?."
  }
}

variable "export_what" {
  description = "what is exported: SOURCE-totals and SOURCE-entries, by commas"
  type        = string
  default     = "libra-totals"

  validation {
    condition     = can(regex("^([a-z_]+-(totals|entries)(,[a-z_]+-(totals|entries))*)$", var.export_what))
    error_message = "export_what: what is exported: SOURCE-totals and SOURCE-entries, by commas; allowed is what matches [a-z_]+-(totals|entries)(,[a-z_]+-(totals|entries))*."
  }
}

variable "export_schedule" {
  description = "when the export runs, as in cron; after the recompute"
  type        = string
  default     = "30 2 * * *"

  validation {
    condition     = can(regex("^(\\S+( \\S+){4})$", var.export_schedule))
    error_message = "export_schedule: when the export runs, as in cron; after the recompute; allowed is what matches \\S+( \\S+){4}."
  }
}

variable "export_secret" {
  description = "SECRET:VERSION in Secret Manager, which holds PostgreSQL's address; needed with --export=postgres"
  type        = string
  default     = ""

  validation {
    condition     = var.export_secret == "" || can(regex("^([A-Za-z0-9_-]+:(latest|\\d+))$", var.export_secret))
    error_message = "export_secret: SECRET:VERSION in Secret Manager, which holds PostgreSQL's address; needed with --export=postgres; allowed is what matches [A-Za-z0-9_-]+:(latest|\\d+)."
  }
}

variable "export_memory" {
  description = "the export's memory, in which a table waits for BigQuery"
  type        = string
  default     = "1Gi"

  validation {
    condition     = can(regex("^(512Mi|1Gi|2Gi|4Gi)$", var.export_memory))
    error_message = "export_memory: the export's memory, in which a table waits for BigQuery; allowed is what matches 512Mi|1Gi|2Gi|4Gi."
  }
}

variable "enable_monitoring" {
  description = "metrics of the log lines, objectives, alert policies and a dashboard"
  type        = bool
  default     = true
}

variable "notify" {
  description = "notification channels, by commas, that the alerts notify: ids or full names"
  type        = string
  default     = ""

  validation {
    condition     = var.notify == "" || can(regex("^((projects/[a-z0-9-]+/notificationChannels/)?\\d+(,(projects/[a-z0-9-]+/notificationChannels/)?\\d+)*)$", var.notify))
    error_message = "notify: notification channels, by commas, that the alerts notify: ids or full names; allowed is what matches (projects/[a-z0-9-]+/notificationChannels/)?\\d+(,(projects/[a-z0-9-]+/notificationChannels/)?\\d+)*."
  }
}

variable "runbook" {
  description = "where you read this page, such as the URL of docs/operations.md in your repository; alerts link it"
  type        = string
  default     = "docs/operations.md"

  validation {
    condition     = can(regex("^([^\\s#\\\"$]+)$", var.runbook))
    error_message = "runbook: where you read this page, such as the URL of docs/operations.md in your repository; alerts link it; allowed is what matches [^\\s#\\\"$]+."
  }
}

variable "secrets" {
  description = "VARIABLE=SECRET:VERSION, by commas: from Secret Manager into both functions"
  type        = string
  default     = ""

  validation {
    condition     = var.secrets == "" || can(regex("^([A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\\d+)(,[A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\\d+))*)$", var.secrets))
    error_message = "secrets: VARIABLE=SECRET:VERSION, by commas: from Secret Manager into both functions; allowed is what matches [A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\\d+)(,[A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\\d+))*."
  }
}

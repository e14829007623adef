module "core" {
  source = "./modules/core"

  project_id        = var.project_id
  location          = local.location
  database          = var.firestore_database
  pitr              = var.pitr
  backup            = var.backup
  backup_retention  = var.backup_retention
  rules             = var.rules
  secrets           = var.secrets
  board             = var.board
  enable_monitoring = var.enable_monitoring
  sources           = var.sources
  warehouse         = var.warehouse
  usage             = var.usage
  reads_usage       = var.api != "off" && var.api_usage_secret != ""
  export            = var.export
  pipelines         = var.pipelines

  ingestion          = var.ingestion
  ingestion_datasets = var.ingestion_datasets
}

module "functions" {
  source = "./modules/functions"
  count  = var.functions_archive != "" ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  location         = local.location
  scheduler_region = local.scheduler_region
  database         = var.firestore_database
  time_zone        = var.time_zone
  runtime          = local.runtime
  recompute_lag    = var.recompute_lag_seconds != "" ? var.recompute_lag_seconds : var.lag_seconds
  concurrency      = var.concurrency
  edits            = var.edits
  memory           = var.memory_limit
  cpu              = var.cpu_limit
  min_instances    = var.min_instances
  max_instances    = var.max_instances
  recompute_memory = var.recompute_memory
  schedule         = var.schedule
  compact_schedule = var.compact_schedule
  api              = var.api
  secrets          = module.core.secrets
  emails           = module.core.emails
  archive          = var.functions_archive

  # The triggers need the database, which they name and do not refer to.
  depends_on = [module.core]
}

module "windows" {
  source = "./modules/windows"
  count  = var.api != "off" ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  mode             = var.api
  image            = var.api_image
  recompute_url    = var.functions_archive != "" ? module.functions[0].recompute_url : var.recompute_url
  runtime          = local.runtime
  operators        = var.api_operators
  origins          = var.api_origins
  deadline_seconds = var.api_deadline_seconds
  max_instances    = var.api_max_instances
  usage_secret     = var.api_usage_secret
  postgres_secret  = var.postgres_secret
  network          = var.usage_network

  # It may call libra-recompute, which is named and not referred to: it need not be Terraform's.
  depends_on = [module.core, module.functions]
}

module "board" {
  source = "./modules/board"
  count  = var.board == "on" && var.board_site != "" ? 1 : 0

  project_id = var.project_id
  site       = var.board_site

  depends_on = [module.core]
}

module "doors" {
  source = "./modules/doors"
  count  = var.collector != "off" || var.worker || var.warehouse ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  runtime          = local.runtime
  collector        = var.collector
  collector_image  = var.collector_image
  accounts         = var.collector_accounts
  origins          = var.collector_origins
  signed_in        = var.collector_signed_in
  rate             = var.collector_rate
  deadline_seconds = var.collector_deadline_seconds
  max_instances    = var.collector_max_instances
  worker           = var.worker
  worker_image     = var.worker_image
  worker_pool_name = var.worker_pool_name
  worker_instances = var.worker_instances
  worker_messages  = var.worker_messages
  worker_memory    = var.worker_memory
  warehouse        = var.warehouse

  depends_on = [module.core]
}

module "warehouse" {
  source = "./modules/warehouse"
  count  = var.warehouse ? 1 : 0

  project_id = var.project_id
  region     = var.region
  dataset    = var.warehouse_dataset
  time_zone  = var.time_zone
  sources    = var.sources

  # It pulls from the topics, which are named and not referred to: they may be deploy.sh's.
  depends_on = [module.core, module.doors]
}

module "usage" {
  source = "./modules/usage"
  count  = var.usage ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  scheduler_region = local.scheduler_region
  time_zone        = var.time_zone
  runtime          = local.runtime
  image            = var.usage_image
  schedule         = var.usage_schedule
  redis_secret     = var.redis_secret
  postgres_secret  = var.postgres_secret
  network          = var.usage_network
  close_seconds    = var.usage_close_seconds
  metrics          = var.usage_metrics

  depends_on = [module.core]
}

module "ingestion" {
  source = "./modules/ingestion"
  count  = var.ingestion ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  scheduler_region = local.scheduler_region
  time_zone        = var.time_zone
  runtime          = local.runtime
  image            = var.ingestion_image
  schedule         = var.ingestion_schedule
  postgres_secret  = var.ingestion_postgres_secret
  key_secret       = var.ingestion_key_secret
  tenant_secrets   = var.ingestion_tenant_secrets
  datasets         = var.ingestion_datasets
  network          = var.ingestion_network
  parallel         = var.ingestion_parallel
  memory           = var.ingestion_memory
  rejected_days    = var.ingestion_rejected_days
  late_days        = var.ingestion_late_days
  accounts         = var.ingestion_accounts
  origins          = var.ingestion_origins
  deadline_seconds = var.ingestion_deadline_seconds
  max_instances    = var.ingestion_max_instances

  # It is started by libra-scheduler, which is named and not referred to.
  depends_on = [module.core]
}

module "export" {
  source = "./modules/export"
  count  = var.export != "off" ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  scheduler_region = local.scheduler_region
  time_zone        = var.time_zone
  runtime          = local.runtime
  place            = var.export
  what             = var.export_what
  schedule         = var.export_schedule
  secret           = var.export_secret
  memory           = var.export_memory
  image            = var.export_image

  # It is started by libra-scheduler, which is named and not referred to.
  depends_on = [module.core]
}

module "pipelines" {
  source = "./modules/pipelines"
  count  = var.pipelines ? 1 : 0

  project_id = var.project_id
  region     = var.region
  runtime    = local.runtime
  image      = var.pipelines_image
  workers    = var.pipelines_workers
  warehouse  = var.warehouse
  dataset    = var.warehouse_dataset
  stream     = var.stream
  sources    = var.sources

  # The stream's job pulls subscriptions and writes to tables, which are named and not referred to.
  depends_on = [module.core, module.warehouse]
}

module "monitoring" {
  source = "./modules/monitoring"
  count  = var.enable_monitoring ? 1 : 0

  project_id       = var.project_id
  log_level        = var.log_level
  notify           = var.notify
  runbook          = var.runbook
  worker_pool_name = var.worker_pool_name
  sources          = var.sources
  usage            = var.usage
  ingestion        = var.ingestion

  depends_on = [module.core]
}

locals {
  # The files that deploy.sh sends, as they are.
  folder     = "${var.sources}/deploy/monitoring"
  parameters = { project = var.project_id, runbook = var.runbook, worker_pool = var.worker_pool_name }

  # Those of usage and of ingestion wait for a flush or a worker, and would fire where there is none.
  unwanted = "^(libra-)?(${join("|", concat(["none"], var.usage ? [] : ["usage"], var.ingestion ? [] : ["ingestion"]))})-"

  metrics = {
    for file in fileset("${local.folder}/metrics", "*.json") :
    trimsuffix(file, ".json") => jsondecode(templatefile("${local.folder}/metrics/${file}", local.parameters))
    if !can(regex(local.unwanted, file))
  }
  objectives = {
    for file in fileset("${local.folder}/objectives", "*.json") :
    trimsuffix(file, ".json") => jsondecode(templatefile("${local.folder}/objectives/${file}", local.parameters))
  }
  alerts = {
    for file in fileset("${local.folder}/alerts", "*.json") :
    trimsuffix(file, ".json") => jsondecode(templatefile("${local.folder}/alerts/${file}", local.parameters))
    if !can(regex(local.unwanted, file))
  }

  # The metrics count lines of the level INFO.
  is_counted = contains(["INFO", "DEBUG"], var.log_level)

  # An id is one of this project.
  channels = [
    for channel in compact(split(",", var.notify)) :
    strcontains(channel, "/") ? channel : "projects/${var.project_id}/notificationChannels/${channel}"
  ]
}

locals {
  # Whether ingestion reads BigQuery as its own account.
  is_read = var.ingestion && var.ingestion_datasets != ""

  services = concat(
    [
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudfunctions.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "firebaserules.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
    ],
    var.secrets != "" || var.usage || var.reads_usage || var.ingestion || startswith(var.export, "postgres") ? ["secretmanager.googleapis.com"] : [],
    var.board != "off" ? ["firebasehosting.googleapis.com"] : [],
    var.warehouse || startswith(var.export, "bigquery:") || local.is_read ? ["bigquery.googleapis.com"] : [],
    local.is_read ? ["bigquerystorage.googleapis.com"] : [],
    var.warehouse || var.pipelines ? ["dataflow.googleapis.com"] : [],
    var.enable_monitoring ? ["logging.googleapis.com", "monitoring.googleapis.com"] : [],
  )

  accounts = {
    libra-runtime   = "Libra: runtime"
    libra-build     = "Libra: build"
    libra-trigger   = "Libra: trigger"
    libra-scheduler = "Libra: scheduler"
  }

  # Each account has one role in the project, or none.
  grants = {
    libra-runtime = "roles/datastore.user"
    libra-trigger = "roles/eventarc.eventReceiver"
    libra-build   = "roles/cloudbuild.builds.builder"
  }

  # The file is Firebase's own, and the only place where an index is declared.
  declared = jsondecode(file("${var.sources}/firestore.indexes.json"))
  indexes = {
    for index in local.declared.indexes :
    "${index.collectionGroup}/${join(",", [for field in index.fields : "${field.fieldPath}:${lower(field.order)}"])}" => index
  }
  fields = {
    for override in local.declared.fieldOverrides : "${override.collectionGroup}/${override.fieldPath}" => {
      collection = override.collectionGroup
      field      = override.fieldPath
      ttl        = lookup(override, "ttl", false)
    }
  }

  # VARIABLE=SECRET:VERSION, by commas.
  secrets = {
    for entry in compact(split(",", var.secrets)) : split("=", entry)[0] => {
      secret  = split(":", split("=", entry)[1])[0]
      version = split(":", split("=", entry)[1])[1]
    }
  }

  # 7d or 2w, in seconds.
  retention = "${tonumber(substr(var.backup_retention, 0, length(var.backup_retention) - 1)) * (endswith(var.backup_retention, "w") ? 604800 : 86400)}s"
}

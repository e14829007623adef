resource "google_service_account" "warehouse" {
  project      = var.project_id
  account_id   = "libra-warehouse"
  display_name = "Libra: warehouse"
}

# Workers start from the pipelines' image.
resource "google_project_iam_member" "warehouse" {
  for_each = toset(["roles/dataflow.worker", "roles/artifactregistry.reader"])

  project = var.project_id
  role    = each.value
  member  = "serviceAccount:${google_service_account.warehouse.email}"
}

# --- what the pipeline pulls

resource "google_pubsub_subscription" "warehouse" {
  for_each = local.subscriptions

  project                    = var.project_id
  name                       = each.value
  topic                      = trimsuffix(each.value, "-warehouse")
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = "" # never
  }

  lifecycle {
    prevent_destroy = true # it may hold events that are not written yet
  }
}

resource "google_pubsub_subscription_iam_member" "subscriber" {
  for_each = local.subscriptions

  project      = var.project_id
  subscription = google_pubsub_subscription.warehouse[each.value].name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:${google_service_account.warehouse.email}"
}

# Dataflow looks at a subscription before it pulls it.
resource "google_pubsub_subscription_iam_member" "viewer" {
  for_each = local.subscriptions

  project      = var.project_id
  subscription = google_pubsub_subscription.warehouse[each.value].name
  role         = "roles/pubsub.viewer"
  member       = "serviceAccount:${google_service_account.warehouse.email}"
}

# --- what it writes to

resource "google_bigquery_dataset" "warehouse" {
  #checkov:skip=CKV_GCP_81:keys of Google encrypt the dataset, as they do the database

  project     = var.project_id
  dataset_id  = var.dataset
  location    = var.region
  description = "Libra: events and their totals"

  access {
    role          = "OWNER"
    special_group = "projectOwners"
  }

  access {
    role          = "READER"
    special_group = "projectReaders"
  }

  access {
    role          = "WRITER"
    user_by_email = google_service_account.warehouse.email
  }

  lifecycle {
    prevent_destroy = true # it holds every event
  }
}

resource "google_bigquery_table" "table" {
  for_each = local.tables
  #checkov:skip=CKV_GCP_80:keys of Google encrypt the tables, as they do the database

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.warehouse.dataset_id
  table_id            = each.key
  description         = each.value.description
  schema              = jsonencode(each.value.schema.fields)
  clustering          = try(each.value.clustering.fields, null)
  deletion_protection = true

  dynamic "time_partitioning" {
    for_each = try([each.value.timePartitioning], [])

    content {
      type  = time_partitioning.value.type
      field = time_partitioning.value.field
    }
  }

  lifecycle {
    prevent_destroy = true # it holds events
  }
}

# A view holds nothing: it may be made again.
resource "google_bigquery_table" "events" {
  for_each = local.events
  #checkov:skip=CKV_GCP_80:a view holds nothing that could be lost
  #checkov:skip=CKV_GCP_121:a view holds nothing that could be lost

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.warehouse.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.table]
}

resource "google_bigquery_table" "totals" {
  for_each = local.totals
  #checkov:skip=CKV_GCP_80:a view holds nothing that could be lost
  #checkov:skip=CKV_GCP_121:a view holds nothing that could be lost

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.warehouse.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.events]
}

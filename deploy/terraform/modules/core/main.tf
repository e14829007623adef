resource "google_project_service" "needed" {
  for_each = toset(local.services)

  project            = var.project_id
  service            = each.value
  disable_on_destroy = false # others may use it
}

resource "google_firestore_database" "database" {
  project                           = var.project_id
  name                              = var.database
  location_id                       = var.location
  type                              = "FIRESTORE_NATIVE"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  point_in_time_recovery_enablement = var.pitr == "on" ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"
  deletion_policy                   = "ABANDON" # a destroy leaves the data

  depends_on = [google_project_service.needed]

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_firestore_index" "composite" {
  for_each = local.indexes

  project     = var.project_id
  database    = google_firestore_database.database.name
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path = fields.value.fieldPath
      order      = fields.value.order
    }
  }
}

resource "google_firestore_field" "override" {
  for_each = local.fields

  project    = var.project_id
  database   = google_firestore_database.database.name
  collection = each.value.collection
  field      = each.value.field

  index_config {} # no index

  dynamic "ttl_config" {
    for_each = each.value.ttl ? [1] : []

    content {}
  }
}

resource "google_firestore_backup_schedule" "daily" {
  count = var.backup == "daily" ? 1 : 0

  project   = var.project_id
  database  = google_firestore_database.database.name
  retention = local.retention

  daily_recurrence {}

  lifecycle {
    prevent_destroy = true # it guards the data
  }
}

resource "google_firebaserules_ruleset" "rules" {
  count = var.rules == "keep" ? 0 : 1

  project = var.project_id

  source {
    files {
      name    = "firestore.rules"
      content = file("${var.sources}/firestore.rules")
    }
  }

  depends_on = [google_firestore_database.database]

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_firebaserules_release" "rules" {
  count = var.rules == "keep" ? 0 : 1

  project      = var.project_id
  name         = var.database == "(default)" ? "cloud.firestore" : "cloud.firestore/${var.database}"
  ruleset_name = "projects/${var.project_id}/rulesets/${google_firebaserules_ruleset.rules[0].name}"

  lifecycle {
    prevent_destroy = true # without rules, clients could reach nothing
  }
}

resource "google_service_account" "account" {
  for_each = local.accounts

  project      = var.project_id
  account_id   = each.key
  display_name = each.value

  depends_on = [google_project_service.needed]
}

resource "google_project_iam_member" "grant" {
  #checkov:skip=CKV_GCP_49:the builder's role is Google's own for builds, and libra-build has no other; it acts as no account that runs anything
  for_each = local.grants

  project = var.project_id
  role    = each.value
  member  = "serviceAccount:${google_service_account.account[each.key].email}"
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = toset([for secret in local.secrets : secret.secret])

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.account["libra-runtime"].email}"

  depends_on = [google_project_service.needed]
}

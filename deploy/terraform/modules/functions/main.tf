resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62:it holds zips of public source code, and no data; the audit logs say who changed it
  project                     = var.project_id
  name                        = "${var.project_id}-libra-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }
}

resource "google_storage_bucket_object" "archive" {
  bucket = google_storage_bucket.source.name
  name   = local.archive
  source = var.archive
}

resource "google_cloudfunctions2_function" "function" {
  #checkov:skip=CKV_GCP_124:only the recompute, and only beside the API, whose calls are not internal without a VPC; it answers accounts with the invoker role alone
  for_each = local.functions

  project  = var.project_id
  location = var.region
  name     = each.key

  build_config {
    runtime         = "python311"
    entry_point     = each.value.entry_point
    service_account = "projects/${var.project_id}/serviceAccounts/${var.emails["libra-build"]}"

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.archive.name
      }
    }
  }

  service_config {
    service_account_email            = var.emails["libra-runtime"]
    available_cpu                    = var.cpu
    available_memory                 = each.value.memory
    max_instance_request_concurrency = each.value.concurrency
    timeout_seconds                  = each.value.timeout
    min_instance_count               = each.value.minimum
    max_instance_count               = each.value.maximum
    ingress_settings                 = each.value.ingress
    environment_variables            = merge(local.environment, each.key == "libra-recompute" ? { LIBRA_LAG_SECONDS = var.recompute_lag } : {})

    dynamic "secret_environment_variables" {
      for_each = var.secrets

      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }
  }

  dynamic "event_trigger" {
    for_each = each.value.happens != "" ? [each.value.happens] : []

    content {
      trigger_region        = var.location
      event_type            = "google.cloud.firestore.document.v1.${event_trigger.value}"
      service_account_email = var.emails["libra-trigger"]
      retry_policy          = "RETRY_POLICY_RETRY"

      event_filters {
        attribute = "database"
        value     = var.database
      }

      event_filters {
        attribute = "namespace"
        value     = "(default)"
      }

      event_filters {
        attribute = "document"
        value     = "libra/{entryId}"
        operator  = "match-path-pattern"
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.lag_is_safe
      error_message = "lag_seconds is longer than recompute_lag_seconds: a trigger would count what a recompute has counted. See docs/terraform.md."
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = local.functions

  project  = var.project_id
  location = var.region
  name     = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${var.emails[each.value.caller]}"
}

resource "google_cloud_scheduler_job" "call" {
  for_each = local.jobs

  project          = var.project_id
  region           = var.scheduler_region
  name             = each.key
  schedule         = each.value.schedule
  time_zone        = var.time_zone
  attempt_deadline = "1800s"

  retry_config {
    retry_count          = 3
    min_backoff_duration = "300s"
    max_backoff_duration = "3600s"
    max_doublings        = 2
  }

  http_target {
    http_method = "POST"
    uri         = "${google_cloudfunctions2_function.function["libra-recompute"].service_config[0].uri}/"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(each.value.body)

    oidc_token {
      service_account_email = var.emails["libra-scheduler"]
      audience              = google_cloudfunctions2_function.function["libra-recompute"].service_config[0].uri
    }
  }
}

resource "google_service_account" "export" {
  project      = var.project_id
  account_id   = "libra-export"
  display_name = "Libra: export"
}

resource "google_project_iam_member" "export" {
  for_each = toset(local.roles)

  project = var.project_id
  role    = each.value
  member  = "serviceAccount:${google_service_account.export.email}"
}

# --- where it writes

resource "google_bigquery_dataset" "export" {
  count = local.dataset != "" ? 1 : 0
  #checkov:skip=CKV_GCP_81:keys of Google encrypt the dataset, as they do the database

  project     = var.project_id
  dataset_id  = local.dataset
  location    = var.region
  description = "Libra: exports"

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
    user_by_email = google_service_account.export.email
  }

  lifecycle {
    prevent_destroy = true # others read it
  }
}

# The bucket has to be there.
resource "google_storage_bucket_iam_member" "export" {
  count = local.bucket != "" ? 1 : 0

  bucket = local.bucket
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_service_account.export.email}"
}

resource "google_secret_manager_secret_iam_member" "export" {
  for_each = local.secrets

  project   = var.project_id
  secret_id = split(":", each.value)[0]
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.export.email}"
}

# --- the job, and what starts it

resource "google_cloud_run_v2_job" "export" {
  project             = var.project_id
  location            = var.region
  name                = "libra-export"
  deletion_protection = false

  template {
    task_count = 1

    template {
      service_account = google_service_account.export.email
      timeout         = "10800s" # three hours
      max_retries     = 2

      containers {
        image = var.image

        resources {
          limits = { cpu = "1", memory = var.memory }
        }

        dynamic "env" {
          for_each = local.environment

          content {
            name  = env.key
            value = env.value.value

            dynamic "value_source" {
              for_each = env.value.secrets

              content {
                secret_key_ref {
                  secret  = split(":", value_source.value)[0]
                  version = split(":", value_source.value)[1]
                }
              }
            }
          }
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.has_address
      error_message = "export_secret: PostgreSQL's address is a secret, SECRET:VERSION, and BigQuery and a bucket have none."
    }
  }

  depends_on = [google_project_iam_member.export, google_secret_manager_secret_iam_member.export, google_storage_bucket_iam_member.export]
}

resource "google_cloud_run_v2_job_iam_member" "caller" {
  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.export.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${local.caller}"
}

resource "google_cloud_scheduler_job" "export" {
  project          = var.project_id
  region           = var.scheduler_region
  name             = "libra-export"
  schedule         = var.schedule
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
    uri         = "https://run.googleapis.com/v2/projects/${var.project_id}/locations/${var.region}/jobs/${google_cloud_run_v2_job.export.name}:run"

    oauth_token {
      service_account_email = local.caller
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.caller]
}

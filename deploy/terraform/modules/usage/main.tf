resource "google_service_account" "usage" {
  project      = var.project_id
  account_id   = "libra-usage"
  display_name = "Libra: usage"
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = toset([for secret in local.secrets : secret.secret])

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.usage.email}"
}

# Cloud Run starts no run again that failed: the next one books what it left.
resource "google_cloud_run_v2_job" "usage" {
  project             = var.project_id
  location            = var.region
  name                = "libra-usage"
  deletion_protection = false

  template {
    task_count = 1

    template {
      service_account = google_service_account.usage.email
      timeout         = "900s"
      max_retries     = 0

      containers {
        image = var.image

        resources {
          limits = { cpu = "1", memory = "512Mi" }
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
                  secret  = value_source.value.secret
                  version = value_source.value.version
                }
              }
            }
          }
        }
      }

      dynamic "vpc_access" {
        for_each = local.networks

        content {
          egress = "PRIVATE_RANGES_ONLY"

          network_interfaces {
            network    = vpc_access.value.network
            subnetwork = vpc_access.value.subnet
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader]
}

resource "google_cloud_run_v2_job_iam_member" "caller" {
  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.usage.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${local.caller}"
}

resource "google_cloud_scheduler_job" "usage" {
  project   = var.project_id
  region    = var.scheduler_region
  name      = "libra-usage"
  schedule  = var.schedule
  time_zone = var.time_zone

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/projects/${var.project_id}/locations/${var.region}/jobs/libra-usage:run"

    oauth_token {
      service_account_email = local.caller
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.caller]
}

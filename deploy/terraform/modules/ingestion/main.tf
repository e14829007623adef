# --- the API

module "api" {
  source = "../service"

  project_id       = var.project_id
  region           = var.region
  name             = "libra-ingestion-api"
  role             = ""
  image            = var.image
  memory           = "512Mi"
  concurrency      = 40
  deadline_seconds = var.deadline_seconds
  max_instances    = var.max_instances
  audience         = "LIBRA_INGESTION_AUDIENCE"
  secrets          = { LIBRA_POSTGRES_URL = var.postgres_secret }
  network          = var.network
  environment = merge(var.runtime, {
    LIBRA_INGESTION_ACCOUNTS         = var.accounts
    LIBRA_INGESTION_ORIGINS          = var.origins
    LIBRA_INGESTION_DEADLINE_SECONDS = var.deadline_seconds
  })
}

# --- the worker

resource "google_service_account" "worker" {
  project      = var.project_id
  account_id   = "libra-ingestion"
  display_name = "Libra: ingestion"
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.read

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.worker.email}"
}

# In the tenant's project: to read by the Storage Read API, and to have BigQuery count what is read, by a query.
# Both reach no data but those of the datasets.
resource "google_project_iam_member" "reader" {
  for_each = local.reader

  project = each.value.project
  role    = each.value.role
  member  = "serviceAccount:${google_service_account.worker.email}"
}

resource "google_bigquery_dataset_iam_member" "viewer" {
  for_each = local.datasets

  project    = each.value.project
  dataset_id = each.value.dataset
  role       = "roles/bigquery.dataViewer"
  member     = "serviceAccount:${google_service_account.worker.email}"
}

# Cloud Run starts no execution again that failed: the next one goes on.
resource "google_cloud_run_v2_job" "worker" {
  project             = var.project_id
  location            = var.region
  name                = "libra-ingestion"
  deletion_protection = false

  template {
    task_count = 1

    template {
      service_account = google_service_account.worker.email
      timeout         = "3600s"
      max_retries     = 0

      containers {
        image   = var.image
        command = ["worker"]

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
  name     = google_cloud_run_v2_job.worker.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${local.caller}"
}

resource "google_cloud_scheduler_job" "worker" {
  project   = var.project_id
  region    = var.scheduler_region
  name      = "libra-ingestion"
  schedule  = var.schedule
  time_zone = var.time_zone

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/projects/${var.project_id}/locations/${var.region}/jobs/libra-ingestion:run"

    oauth_token {
      service_account_email = local.caller
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.caller]
}

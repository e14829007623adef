resource "google_service_account" "pipelines" {
  project      = var.project_id
  account_id   = "libra-pipelines"
  display_name = "Libra: pipelines"
}

# A run corrects, starts a job and is what its workers run as. They start from the image.
resource "google_project_iam_member" "pipelines" {
  #checkov:skip=CKV_GCP_49:a job starts jobs, and acts as no account but its own
  for_each = toset([
    "roles/datastore.user",
    "roles/dataflow.developer",
    "roles/dataflow.worker",
    "roles/artifactregistry.reader",
  ])

  project = var.project_id
  role    = each.value
  member  = "serviceAccount:${google_service_account.pipelines.email}"
}

# It starts jobs as itself.
resource "google_service_account_iam_member" "itself" {
  service_account_id = google_service_account.pipelines.name
  role               = "roles/iam.serviceAccountUser"
  member             = "serviceAccount:${google_service_account.pipelines.email}"
}

resource "google_storage_bucket" "pipelines" {
  #checkov:skip=CKV_GCP_62:it holds files of jobs under way, and the audit logs say who changed it
  #checkov:skip=CKV_GCP_78:jobs write files for themselves and remove them, and Terraform makes the template again
  project                     = var.project_id
  name                        = "${var.project_id}-libra-pipelines"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false # a job that is under way reads its files

  soft_delete_policy {
    retention_duration_seconds = 0
  }
}

resource "google_storage_bucket_iam_member" "keeper" {
  for_each = local.keepers

  bucket = google_storage_bucket.pipelines.name
  role   = "roles/storage.objectAdmin"
  member = "serviceAccount:${each.value}@${var.project_id}.iam.gserviceaccount.com"

  depends_on = [google_service_account.pipelines]
}

# --- with an image: the template, the recompute and the stream

resource "google_storage_bucket_object" "template" {
  count = var.image != "" ? 1 : 0

  bucket  = google_storage_bucket.pipelines.name
  name    = "libra.json"
  content = jsonencode(local.template)
}

# It is not started, and not started again by itself: a run holds the lease once.
resource "google_cloud_run_v2_job" "recompute" {
  count = var.image != "" ? 1 : 0

  project             = var.project_id
  location            = var.region
  name                = "libra-recompute-beam"
  deletion_protection = false

  template {
    task_count = 1

    template {
      service_account = google_service_account.pipelines.email
      timeout         = "86400s" # it holds the lease for as long as Dataflow counts
      max_retries     = 0

      containers {
        image   = var.image
        command = ["python"]
        args = [
          "-m", "pipelines", "--pipeline=recompute", "--runner=DataflowRunner",
          "--project=${var.project_id}",
          "--region=${var.region}",
          "--temp_location=gs://${google_storage_bucket.pipelines.name}/temp",
          "--sdk_container_image=${var.image}",
          "--service_account_email=${google_service_account.pipelines.email}",
          "--max_num_workers=${var.workers}",
        ]

        resources {
          limits = { cpu = "1", memory = "1Gi" }
        }

        dynamic "env" {
          for_each = var.runtime

          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  depends_on = [google_project_iam_member.pipelines, google_service_account_iam_member.itself, google_storage_bucket_iam_member.keeper]
}

# An apply with another image replaces the running job, which hands over what it holds.
resource "google_dataflow_flex_template_job" "stream" {
  count    = var.stream && var.image != "" ? 1 : 0
  provider = google-beta

  project                 = var.project_id
  region                  = var.region
  name                    = "libra-events-to-bigquery"
  container_spec_gcs_path = "gs://${google_storage_bucket.pipelines.name}/${google_storage_bucket_object.template[0].name}"
  service_account_email   = "libra-warehouse@${var.project_id}.iam.gserviceaccount.com"
  temp_location           = "gs://${google_storage_bucket.pipelines.name}/temp"
  staging_location        = "gs://${google_storage_bucket.pipelines.name}/staging"
  sdk_container_image     = var.image
  max_workers             = tonumber(var.workers)
  on_delete               = "drain" # a job that is cancelled loses what it holds

  parameters = {
    pipeline = "events_to_bigquery"
    settings = local.settings
    dataset  = var.dataset
  }

  depends_on = [google_storage_bucket_iam_member.keeper]

  lifecycle {
    precondition {
      condition     = var.warehouse
      error_message = "stream needs warehouse: the job pulls its subscriptions and writes to its dataset. Set warehouse = true, or stream = false."
    }
  }
}

module "service" {
  source = "../service"

  project_id       = var.project_id
  region           = var.region
  name             = "libra-api"
  role             = local.role
  image            = var.image
  memory           = "512Mi"
  concurrency      = 40
  deadline_seconds = var.deadline_seconds
  max_instances    = var.max_instances
  environment      = local.environment
  audience         = "LIBRA_API_AUDIENCE"
  secrets          = { for secret in compact([var.usage_secret]) : "LIBRA_POSTGRES_URL" => secret }
  network          = var.usage_secret != "" ? var.network : ""
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  project  = var.project_id
  location = var.region
  name     = "libra-recompute"
  role     = "roles/run.invoker"
  member   = "serviceAccount:${module.service.email}"

  lifecycle {
    precondition {
      condition     = local.only_reads
      error_message = "api_usage_secret: the flush reads this secret (postgres_secret), and its role writes. Make a role that only reads, and a secret of its own: docs/usage.md."
    }
  }
}

module "service" {
  source = "../service"

  project_id       = var.project_id
  region           = var.region
  name             = "libra-collector"
  role             = local.role
  image            = var.image
  memory           = "1Gi"
  concurrency      = 80
  deadline_seconds = var.deadline_seconds
  max_instances    = var.max_instances
  environment      = local.environment
  audience         = "LIBRA_COLLECTOR_AUDIENCE"
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = toset(local.topics)

  project = var.project_id
  topic   = each.value
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${module.service.email}"
}

data "google_project" "project" {
  project_id = var.project_id
}

# --- Pub/Sub: for each source a topic, a subscription, and dead letters

resource "google_pubsub_topic" "topic" {
  for_each = local.topics
  #checkov:skip=CKV_GCP_83:keys of Google encrypt the topics, as they do the database that the events go to

  project                    = var.project_id
  name                       = each.value
  message_retention_duration = local.kept

  lifecycle {
    prevent_destroy = true # it may hold events that nobody has counted yet
  }
}

resource "google_pubsub_subscription" "dead" {
  for_each = local.sources

  project                    = var.project_id
  name                       = "${each.value}-dead"
  topic                      = google_pubsub_topic.topic["${each.value}-dead"].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.kept

  expiration_policy {
    ttl = "" # never
  }

  lifecycle {
    prevent_destroy = true # it may hold events that nobody has counted yet
  }
}

resource "google_pubsub_subscription" "worker" {
  for_each = local.sources

  project                    = var.project_id
  name                       = "${each.value}-worker"
  topic                      = google_pubsub_topic.topic[each.value].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.kept

  expiration_policy {
    ttl = "" # never
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.topic["${each.value}-dead"].id
    max_delivery_attempts = 30
  }

  lifecycle {
    prevent_destroy = true # it may hold events that nobody has counted yet
  }
}

# Pub/Sub itself moves a message to the dead letters: it publishes there, and acknowledges here.
resource "google_pubsub_topic_iam_member" "agent" {
  for_each = local.sources

  project = var.project_id
  topic   = google_pubsub_topic.topic["${each.value}-dead"].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:service-${data.google_project.project.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_subscription_iam_member" "agent" {
  for_each = local.sources

  project      = var.project_id
  subscription = google_pubsub_subscription.worker[each.value].name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:service-${data.google_project.project.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# --- the collector

module "collector" {
  source = "../service"
  count  = var.collector != "off" ? 1 : 0

  project_id       = var.project_id
  region           = var.region
  name             = "libra-collector"
  role             = local.role
  image            = var.collector_image
  memory           = "1Gi"
  concurrency      = 80
  deadline_seconds = var.deadline_seconds
  max_instances    = var.max_instances
  environment      = local.environment
  audience         = "LIBRA_COLLECTOR_AUDIENCE"
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.published

  project = var.project_id
  topic   = google_pubsub_topic.topic[each.value].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${module.collector[0].email}"
}

# --- the worker

resource "google_service_account" "worker" {
  count = var.worker ? 1 : 0

  project      = var.project_id
  account_id   = "libra-worker"
  display_name = "Libra: worker"
}

resource "google_project_iam_member" "worker" {
  count = var.worker ? 1 : 0

  project = var.project_id
  role    = "roles/datastore.user"
  member  = "serviceAccount:${google_service_account.worker[0].email}"
}

resource "google_pubsub_subscription_iam_member" "worker" {
  for_each = local.pulled

  project      = var.project_id
  subscription = google_pubsub_subscription.worker[each.value].name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:${google_service_account.worker[0].email}"
}

resource "google_cloud_run_v2_worker_pool" "worker" {
  count = var.worker ? 1 : 0

  project             = var.project_id
  location            = var.region
  name                = var.worker_pool_name
  launch_stage        = "BETA"
  deletion_protection = false

  scaling {
    manual_instance_count = tonumber(var.worker_instances)
  }

  template {
    service_account = google_service_account.worker[0].email

    containers {
      image = var.worker_image

      resources {
        limits = { cpu = "1", memory = var.worker_memory }
      }

      dynamic "env" {
        for_each = merge(var.runtime, { LIBRA_WORKER_MESSAGES = var.worker_messages })

        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }

  depends_on = [google_project_iam_member.worker, google_pubsub_subscription_iam_member.worker]
}

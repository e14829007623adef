data "google_project" "project" {
  project_id = var.project_id
}

resource "google_service_account" "account" {
  project      = var.project_id
  account_id   = var.name
  display_name = "Libra: ${trimprefix(var.name, "libra-")}"
}

resource "google_project_iam_member" "grant" {
  count = var.role != "" ? 1 : 0

  project = var.project_id
  role    = var.role
  member  = "serviceAccount:${google_service_account.account.email}"
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = toset([for secret in local.secrets : secret.secret])

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.account.email}"
}

resource "google_cloud_run_v2_service" "service" {
  project              = var.project_id
  location             = var.region
  name                 = var.name
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = true # it asks for a token itself
  deletion_protection  = false

  template {
    service_account                  = google_service_account.account.email
    timeout                          = "${tonumber(var.deadline_seconds) + 10}s"
    max_instance_request_concurrency = var.concurrency

    scaling {
      min_instance_count = 0
      max_instance_count = tonumber(var.max_instances)
    }

    containers {
      image = var.image

      resources {
        limits = { cpu = "1", memory = var.memory }
      }

      # Its own address is known before it is deployed.
      dynamic "env" {
        for_each = merge(local.environment, {
          (var.audience) = {
            value   = "https://${var.name}-${data.google_project.project.number}.${var.region}.run.app"
            secrets = []
          }
        })

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

      startup_probe {
        http_get {
          path = "/healthz"
        }
      }

      liveness_probe {
        http_get {
          path = "/healthz"
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

  depends_on = [google_project_iam_member.grant, google_secret_manager_secret_iam_member.reader]
}

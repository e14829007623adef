terraform {
  # Infrastructure Manager runs 1.5.7, so nothing newer is used.
  required_version = ">= 1.5.7"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 7.0.0"
    }
  }

  # State in a bucket: see "Remote state" in docs/terraform.md. Infrastructure Manager keeps the state itself.
}

provider "google" {
  project = var.project_id
  region  = var.region
}

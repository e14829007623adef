terraform {
  # Infrastructure Manager runs 1.5.7, so nothing newer is used.
  required_version = ">= 1.5.7"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 7.0.0"
    }
    # For the board's site and the streaming job: it has no other resource for Firebase Hosting and flex templates.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.50.0, < 7.0.0"
    }
  }

  # State in a bucket: see "Remote state" in docs/terraform.md. Infrastructure Manager keeps the state itself.
}

provider "google" {
  project = var.project_id
  region  = var.region
}

provider "google-beta" {
  project = var.project_id
  region  = var.region

  # With a person's own credentials, Firebase's APIs want to be told whose quota they use.
  user_project_override = true
  billing_project       = var.project_id
}

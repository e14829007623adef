locals {
  location         = var.location != "" ? var.location : var.region
  scheduler_region = var.scheduler_region != "" ? var.scheduler_region : var.region

  # What the functions and the API find in their environment.
  runtime = {
    GOOGLE_CLOUD_PROJECT = var.project_id
    FIRESTORE_DATABASE   = var.firestore_database
    LIBRA_TIME_ZONE      = var.time_zone
    LIBRA_TIME_ACTION    = var.time_action
    LIBRA_LAG_SECONDS    = var.lag_seconds
    LIBRA_BUCKET_SECONDS = var.bucket_seconds
    LIBRA_GROUP_SIZE     = var.group_size
    LIBRA_LINGER_MS      = var.linger_ms
    LIBRA_MAX_LOSS       = var.max_loss
    LIBRA_LOG_LEVEL      = var.log_level
  }
}

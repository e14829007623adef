locals {
  # The flush reads the other secret, and its role writes.
  only_reads = var.usage_secret == "" || split(":", var.usage_secret)[0] != split(":", var.postgres_secret)[0]

  role = { reader = "roles/datastore.viewer", writer = "roles/datastore.user" }[var.mode]

  environment = merge(var.runtime, {
    LIBRA_API_RECOMPUTE_URL    = var.recompute_url
    LIBRA_API_OPERATORS        = var.operators
    LIBRA_API_ORIGINS          = var.origins
    LIBRA_API_DEADLINE_SECONDS = var.deadline_seconds
  })
}

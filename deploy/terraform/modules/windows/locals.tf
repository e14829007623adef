locals {
  role = { reader = "roles/datastore.viewer", writer = "roles/datastore.user" }[var.mode]

  environment = merge(var.runtime, {
    LIBRA_API_RECOMPUTE_URL    = var.recompute_url
    LIBRA_API_OPERATORS        = var.operators
    LIBRA_API_ORIGINS          = var.origins
    LIBRA_API_DEADLINE_SECONDS = var.deadline_seconds
  })
}

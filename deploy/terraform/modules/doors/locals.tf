locals {
  role = { queue = "roles/datastore.viewer", direct = "roles/datastore.user" }[var.mode]

  # One topic for each source that Libra writes itself.
  topics = var.mode == "queue" ? ["user_events", "signals"] : []

  environment = merge(var.runtime, {
    LIBRA_COLLECTOR_MODE             = var.mode
    LIBRA_COLLECTOR_ACCOUNTS         = var.accounts
    LIBRA_COLLECTOR_ORIGINS          = var.origins
    LIBRA_COLLECTOR_SIGNED_IN        = var.signed_in
    LIBRA_COLLECTOR_RATE             = var.rate
    LIBRA_COLLECTOR_DEADLINE_SECONDS = var.deadline_seconds
  })
}

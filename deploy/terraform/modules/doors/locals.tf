locals {
  # The sources that Libra writes itself: a topic has the name of its source.
  sources = var.worker || var.warehouse || var.collector == "queue" ? toset(["user_events", "signals"]) : toset([])
  topics  = toset(flatten([for source in local.sources : [source, "${source}-dead"]]))
  kept    = "604800s" # seven days

  pulled    = var.worker ? local.sources : toset([])
  published = var.collector == "queue" ? local.sources : toset([])

  role = lookup({ queue = "roles/datastore.viewer", direct = "roles/datastore.user" }, var.collector, "")
  environment = merge(var.runtime, {
    LIBRA_COLLECTOR_MODE             = var.collector
    LIBRA_COLLECTOR_ACCOUNTS         = var.accounts
    LIBRA_COLLECTOR_ORIGINS          = var.origins
    LIBRA_COLLECTOR_SIGNED_IN        = var.signed_in
    LIBRA_COLLECTOR_RATE             = var.rate
    LIBRA_COLLECTOR_DEADLINE_SECONDS = var.deadline_seconds
  })
}

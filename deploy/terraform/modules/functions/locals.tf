locals {
  happens = merge(
    { libra-on-created = "created" },
    var.edits ? { libra-on-updated = "updated", libra-on-deleted = "deleted" } : {},
  )

  functions = merge(
    {
      libra-recompute = {
        entry_point = "recompute"
        happens     = ""
        caller      = "libra-scheduler"
        ingress     = var.api == "off" ? "ALLOW_INTERNAL_ONLY" : "ALLOW_ALL"
        concurrency = 1
        memory      = var.recompute_memory
        timeout     = 3600
        minimum     = 0
        maximum     = 1
      }
    },
    {
      for name, happens in local.happens : name => {
        entry_point = "on_libra_${happens}"
        happens     = happens
        caller      = "libra-trigger"
        ingress     = "ALLOW_INTERNAL_ONLY"
        concurrency = tonumber(var.concurrency)
        memory      = var.memory
        timeout     = 120
        minimum     = name == "libra-on-created" ? tonumber(var.min_instances) : 0
        maximum     = tonumber(var.max_instances)
      }
    },
  )

  # One number for the platform's concurrency and the server's threads: never apart.
  environment = merge(var.runtime, { THREADS = var.concurrency })

  # A trigger takes an entry for fresh that is younger than its LAG: no watermark may have passed it.
  lag_is_safe = tonumber(var.runtime.LIBRA_LAG_SECONDS) <= tonumber(var.recompute_lag)

  # A zip has a new name when its content is another, so that a function is deployed again.
  archive = "libra/functions-${filesha256(var.archive)}.zip"

  jobs = {
    for name, job in {
      libra-recompute = { schedule = var.schedule, body = "{}" }
      libra-compact   = { schedule = var.compact_schedule, body = "{\"compact\":true}" }
    } : name => job if job.schedule != "off"
  }
}

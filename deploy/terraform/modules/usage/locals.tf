locals {
  # SECRET:VERSION of each variable with an address.
  secrets = {
    for variable, secret in { LIBRA_REDIS_URL = var.redis_secret, LIBRA_POSTGRES_URL = var.postgres_secret } :
    variable => { secret = split(":", secret)[0], version = split(":", secret)[1] }
  }

  plain = merge(var.runtime, {
    LIBRA_USAGE_CLOSE_SECONDS = var.close_seconds
    LIBRA_USAGE_METRICS       = var.metrics
  })

  # Each variable has a value, or the secret that holds it.
  environment = merge(
    { for variable, value in local.plain : variable => { value = value, secrets = [] } },
    { for variable, secret in local.secrets : variable => { value = null, secrets = [secret] } },
  )

  # NETWORK/SUBNET, or none.
  networks = [for network in compact([var.network]) : { network = split("/", network)[0], subnet = split("/", network)[1] }]

  # The account of the module core, which is named and not referred to.
  caller = "libra-scheduler@${var.project_id}.iam.gserviceaccount.com"
}

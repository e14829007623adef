locals {
  secrets = {
    for variable, secret in var.secrets : variable => { secret = split(":", secret)[0], version = split(":", secret)[1] }
  }

  # Each variable has a value, or the secret that holds it.
  environment = merge(
    { for variable, value in var.environment : variable => { value = value, secrets = [] } },
    { for variable, secret in local.secrets : variable => { value = null, secrets = [secret] } },
  )

  networks = [for network in compact([var.network]) : { network = split("/", network)[0], subnet = split("/", network)[1] }]
}

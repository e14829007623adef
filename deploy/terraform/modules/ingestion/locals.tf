locals {
  # SECRET:VERSION of each variable that a secret holds.
  secrets = {
    for variable, secret in { LIBRA_POSTGRES_URL = var.postgres_secret, LIBRA_INGESTION_KEY = var.key_secret } :
    variable => { secret = split(":", secret)[0], version = split(":", secret)[1] } if secret != ""
  }

  # What the worker reads, and nothing else: its own secrets and those of tenants.
  read = toset(concat([for secret in local.secrets : secret.secret], compact(split(",", var.tenant_secrets))))

  # PROJECT.DATASET, by commas.
  datasets = {
    for dataset in compact(split(",", var.datasets)) :
    dataset => { project = split(".", dataset)[0], dataset = split(".", dataset)[1] }
  }

  # The roles in their projects.
  reader = {
    for it in setproduct(
      toset([for dataset in local.datasets : dataset.project]),
      ["roles/bigquery.readSessionUser", "roles/bigquery.jobUser"],
    ) : "${it[0]} ${it[1]}" => { project = it[0], role = it[1] }
  }

  plain = merge(var.runtime, {
    LIBRA_INGESTION_PARALLEL      = var.parallel
    LIBRA_INGESTION_REJECTED_DAYS = var.rejected_days
    LIBRA_INGESTION_LATE_DAYS     = var.late_days
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

locals {
  # Empty where it writes elsewhere.
  bucket  = startswith(var.place, "gs://") ? split("/", var.place)[2] : ""
  dataset = startswith(var.place, "bigquery:") ? trimprefix(var.place, "bigquery:") : ""
  roles   = concat(["roles/datastore.viewer"], local.dataset != "" ? ["roles/bigquery.jobUser"] : [])

  # SECRET:VERSION of PostgreSQL's address. BigQuery and a bucket have none.
  secrets     = toset(compact([var.secret]))
  has_address = startswith(var.place, "postgres") == (var.secret != "")

  environment = merge(
    {
      for name, value in merge(var.runtime, { LIBRA_EXPORT = var.place, LIBRA_EXPORT_WHAT = var.what }) :
      name => { value = value, secrets = [] }
    },
    { for secret in local.secrets : "LIBRA_POSTGRES_URL" => { value = null, secrets = [secret] } },
  )

  # What calls the recompute starts the job too.
  caller = "libra-scheduler@${var.project_id}.iam.gserviceaccount.com"
}

locals {
  # Who reads and writes the bucket: jobs, and the stream's, which run as the warehouse's account.
  keepers = toset(var.warehouse ? ["libra-pipelines", "libra-warehouse"] : ["libra-pipelines"])

  # What `gcloud dataflow flex-template build` writes.
  template = {
    image              = var.image
    sdkInfo            = { language = "PYTHON" }
    metadata           = jsondecode(file("${var.sources}/pipelines/template.json"))
    defaultEnvironment = {}
  }

  # A job has no environment of its own.
  settings = join(";", [
    for name in ["GOOGLE_CLOUD_PROJECT", "FIRESTORE_DATABASE", "LIBRA_TIME_ZONE", "LIBRA_TIME_ACTION", "LIBRA_LOG_LEVEL"] :
    "${name}=${var.runtime[name]}"
  ])
}

# The inputs of docs/terraform.md. Every variable is in variables.tf and more.tf.
project_id        = "kitchen-prod"
region            = "europe-west6"
time_zone         = "Europe/Zurich"
pitr              = "on"
functions_archive = "functions.zip"
notify            = "1234567890"
runbook           = "https://github.com/OWNER/REPOSITORY/blob/main/docs/operations.md"

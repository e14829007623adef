# What Terraform alone needs to know. The other variables are deploy.sh's own: variables.tf.

variable "functions_archive" {
  description = "A zip of build/functions: Terraform then owns the functions, their callers and the schedule. Without one, ./deploy.sh up --only=functions,invokers,schedule does"
  type        = string
  default     = ""
}

variable "recompute_lag_seconds" {
  description = "The recompute's LAG while lag_seconds changes; never shorter than the triggers'. lag_seconds by default"
  type        = string
  default     = ""
}

variable "recompute_url" {
  description = "The URL of libra-recompute, for the API, where Terraform does not own the functions"
  type        = string
  default     = ""
}

variable "api_image" {
  description = "The image of the API, with its digest; needed with api = reader or writer. With api_usage_secret, of build/api-usage"
  type        = string
  default     = ""
}

variable "collector_image" {
  description = "The image of the collector, with its digest; needed with collector = queue or direct"
  type        = string
  default     = ""
}

variable "worker_image" {
  description = "The image of the worker, with its digest; needed with worker = true"
  type        = string
  default     = ""
}

variable "usage_image" {
  description = "The image of the flush of usage, with its digest; needed with usage = true"
  type        = string
  default     = ""
}

variable "ingestion_image" {
  description = "The image of ingestion, with its digest; needed with ingestion = true"
  type        = string
  default     = ""
}

variable "export_image" {
  description = "The image of the export, with its digest; needed unless export is off"
  type        = string
  default     = ""
}

variable "worker_pool_name" {
  description = "The worker pool's name; deploy.sh calls it libra-worker"
  type        = string
  default     = "libra-worker"
}

variable "pipelines_image" {
  description = "With pipelines = true: the pipelines' image, with its digest. Terraform then owns the template, the recompute by beam and, with stream = true, the streaming job. Without one, ./deploy.sh up --only=pipelines,stream does"
  type        = string
  default     = ""
}

variable "board_site" {
  description = "With board = on: the id of a Firebase Hosting site of the board's own, which Terraform makes with a web app. Without one, the board goes to the project's own site"
  type        = string
  default     = ""
}

variable "sources" {
  description = "The folder with firestore.indexes.json, firestore.rules, pipelines/template.json, deploy/monitoring and deploy/terraform/modules/warehouse/files"
  type        = string
  default     = "../.."
}

variable "project_id" { type = string }
variable "log_level" { type = string }
variable "notify" { type = string }
variable "runbook" { type = string }
variable "worker_pool_name" { type = string }
variable "sources" { type = string }
variable "usage" { type = bool }
variable "ingestion" { type = bool }

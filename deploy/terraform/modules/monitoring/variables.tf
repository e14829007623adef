variable "project_id" { type = string }
variable "notify" { type = string }
variable "runbook" { type = string }
variable "sources" { type = string }

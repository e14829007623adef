variable "project_id" { type = string }
variable "site" { type = string }

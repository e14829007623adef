variable "project_id" { type = string }
variable "region" { type = string }
variable "dataset" { type = string }
variable "time_zone" { type = string }
variable "sources" { type = string }

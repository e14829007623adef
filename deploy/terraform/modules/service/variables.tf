variable "project_id" { type = string }
variable "region" { type = string }
variable "name" { type = string }
variable "role" { type = string }
variable "image" { type = string }
variable "memory" { type = string }
variable "concurrency" { type = number }
variable "deadline_seconds" { type = string }
variable "max_instances" { type = string }
variable "environment" { type = map(string) }
variable "audience" { type = string }

# SECRET:VERSION of each variable with an address.
variable "secrets" {
  type    = map(string)
  default = {}
}

# NETWORK/SUBNET, or none.
variable "network" {
  type    = string
  default = ""
}

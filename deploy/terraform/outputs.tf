output "recompute_url" {
  description = "Where the recompute is called, if Terraform owns the functions"
  value       = one(module.functions[*].recompute_url)
}

output "api_url" {
  description = "Where the API answers, if there is one"
  value       = one(module.windows[*].url)
}

output "board_url" {
  description = "Where the board is, if Terraform made its site"
  value       = one(module.board[*].url)
}

output "collector_url" {
  description = "Where the collector takes events, if there is one"
  value       = one(module.doors[*].collector_url)
}

output "topics" {
  description = "The topics that events go to, by source, if there are any"
  value       = one(module.doors[*].topics)
}

output "subscriptions" {
  description = "The subscriptions that the worker pulls, by source, if there are any"
  value       = one(module.doors[*].subscriptions)
}

output "ingestion_url" {
  description = "Where the API of ingestion answers, if there is one"
  value       = one(module.ingestion[*].url)
}

output "collector_url" {
  description = "Where the collector takes events, if there is one"
  value       = one(module.collector[*].url)
}

output "url" {
  description = "Where the collector takes events"
  value       = module.service.url
}

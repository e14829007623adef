output "url" {
  description = "Where the API answers"
  value       = module.service.url
}

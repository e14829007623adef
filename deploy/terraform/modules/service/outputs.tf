output "email" {
  description = "The account that the service runs as"
  value       = google_service_account.account.email
}

output "url" {
  description = "Where the service answers"
  value       = google_cloud_run_v2_service.service.uri
}

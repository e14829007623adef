output "account" {
  description = "What the pipeline runs as"
  value       = google_service_account.warehouse.email
}

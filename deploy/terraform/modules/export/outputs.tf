output "account" {
  description = "What the export runs as"
  value       = google_service_account.export.email
}

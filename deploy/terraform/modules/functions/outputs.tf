output "recompute_url" {
  description = "Where the recompute is called"
  value       = google_cloudfunctions2_function.function["libra-recompute"].service_config[0].uri
}

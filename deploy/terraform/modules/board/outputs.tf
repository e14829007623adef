output "url" {
  description = "Where the board is, once it is deployed"
  value       = google_firebase_hosting_site.board.default_url
}

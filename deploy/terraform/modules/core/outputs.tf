output "emails" {
  description = "The service accounts' addresses, once they have their roles"
  value       = { for name, account in google_service_account.account : name => account.email }
  depends_on  = [google_project_iam_member.grant, google_secret_manager_secret_iam_member.reader]
}

output "secrets" {
  description = "What the functions read from Secret Manager: by variable, the secret and its version"
  value       = local.secrets
}

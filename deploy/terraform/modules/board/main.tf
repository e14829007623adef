# The site of the board and its web app. The page itself is the Firebase CLI's: ./deploy.sh up --only=board --board=on

resource "google_firebase_web_app" "board" {
  provider = google-beta

  project      = var.project_id
  display_name = "Libra: board"
}

resource "google_firebase_hosting_site" "board" {
  provider = google-beta

  project = var.project_id
  site_id = var.site
  app_id  = google_firebase_web_app.board.app_id
}

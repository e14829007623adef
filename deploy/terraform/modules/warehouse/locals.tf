locals {
  # What `python -m deploy.warehouse` writes from the declarations.
  files      = "${var.sources}/deploy/terraform/modules/warehouse/files"
  parameters = { project = var.project_id, dataset = var.dataset, time_zone = var.time_zone }

  tables = { for table in jsondecode(file("${local.files}/tables.json")) : table.name => table }
  views  = { for view in jsondecode(templatefile("${local.files}/views.json", local.parameters)) : view.name => view }
  events = { for name, view in local.views : name => view if view.of_rows }
  totals = { for name, view in local.views : name => view if !view.of_rows }

  # The sources that Libra writes itself: a topic has the name of its source.
  subscriptions = toset(["user_events-warehouse", "signals-warehouse"])
}

output "collector_url" {
  description = "Where the collector takes events, if there is one"
  value       = one(module.collector[*].url)
}

output "topics" {
  description = "The topics that events go to, by source"
  value       = { for source in local.sources : source => google_pubsub_topic.topic[source].id }
}

output "subscriptions" {
  description = "The subscriptions that the worker pulls, by source"
  value       = { for source in local.sources : source => google_pubsub_subscription.worker[source].id }
}

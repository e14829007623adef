resource "google_logging_metric" "metric" {
  for_each = local.metrics

  project          = var.project_id
  name             = each.key
  description      = each.value.description
  filter           = each.value.filter
  label_extractors = try(each.value.labelExtractors, null)

  metric_descriptor {
    metric_kind = each.value.metricDescriptor.metricKind
    value_type  = each.value.metricDescriptor.valueType
    unit        = each.value.metricDescriptor.unit

    dynamic "labels" {
      for_each = try(each.value.metricDescriptor.labels, [])

      content {
        key         = labels.value.key
        description = labels.value.description
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.is_counted
      error_message = "log_level is ${var.log_level}: the metrics count lines of the level INFO, and the alerts would never see them. Say INFO or DEBUG, or enable_monitoring = false."
    }
  }
}

resource "google_monitoring_custom_service" "libra" {
  project      = var.project_id
  service_id   = "libra"
  display_name = "Libra"
}

resource "google_monitoring_slo" "objective" {
  for_each = local.objectives

  project             = var.project_id
  service             = google_monitoring_custom_service.libra.service_id
  slo_id              = each.key
  display_name        = each.value.displayName
  goal                = each.value.goal
  rolling_period_days = tonumber(trimsuffix(each.value.rollingPeriod, "s")) / 86400
  user_labels         = { libra = each.key }

  request_based_sli {
    dynamic "distribution_cut" {
      for_each = try([each.value.serviceLevelIndicator.requestBased.distributionCut], [])

      content {
        distribution_filter = distribution_cut.value.distributionFilter

        range {
          min = distribution_cut.value.range.min
          max = distribution_cut.value.range.max
        }
      }
    }

    dynamic "good_total_ratio" {
      for_each = try([each.value.serviceLevelIndicator.requestBased.goodTotalRatio], [])

      content {
        bad_service_filter   = good_total_ratio.value.badServiceFilter
        total_service_filter = good_total_ratio.value.totalServiceFilter
      }
    }
  }

  depends_on = [google_logging_metric.metric]
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  project               = var.project_id
  display_name          = each.value.displayName
  severity              = each.value.severity
  combiner              = each.value.combiner
  enabled               = each.value.enabled
  notification_channels = local.channels
  user_labels           = { libra = each.key }

  documentation {
    mime_type = each.value.documentation.mimeType
    content   = each.value.documentation.content
  }

  alert_strategy {
    auto_close = each.value.alertStrategy.autoClose
  }

  dynamic "conditions" {
    for_each = each.value.conditions

    content {
      display_name = conditions.value.displayName

      condition_threshold {
        filter                  = conditions.value.conditionThreshold.filter
        comparison              = conditions.value.conditionThreshold.comparison
        threshold_value         = conditions.value.conditionThreshold.thresholdValue
        duration                = conditions.value.conditionThreshold.duration
        evaluation_missing_data = try(conditions.value.conditionThreshold.evaluationMissingData, null)
        denominator_filter      = try(conditions.value.conditionThreshold.denominatorFilter, null)

        dynamic "aggregations" {
          for_each = try(conditions.value.conditionThreshold.aggregations, [])

          content {
            alignment_period     = aggregations.value.alignmentPeriod
            per_series_aligner   = aggregations.value.perSeriesAligner
            cross_series_reducer = aggregations.value.crossSeriesReducer
            group_by_fields      = try(aggregations.value.groupByFields, null)
          }
        }

        dynamic "denominator_aggregations" {
          for_each = try(conditions.value.conditionThreshold.denominatorAggregations, [])

          content {
            alignment_period     = denominator_aggregations.value.alignmentPeriod
            per_series_aligner   = denominator_aggregations.value.perSeriesAligner
            cross_series_reducer = denominator_aggregations.value.crossSeriesReducer
            group_by_fields      = try(denominator_aggregations.value.groupByFields, null)
          }
        }
      }
    }
  }

  # Cloud Monitoring knows a new metric after some minutes: apply again if it refuses an alert.
  depends_on = [google_logging_metric.metric, google_monitoring_slo.objective]
}

resource "google_monitoring_dashboard" "libra" {
  project        = var.project_id
  dashboard_json = file("${local.folder}/dashboard/libra.json")
}

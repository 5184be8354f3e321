output "app_name" {
  description = "Name of the application."
  value       = juju_application.parca.name
}

output "provides" {
  description = "Endpoints that others may require: a name for each, with underscores, and what it is called in Juju."
  value = {
    grafana_dashboard       = "grafana-dashboard"
    grafana_source          = "grafana-source"
    metrics_endpoint        = "metrics-endpoint"
    parca_store_endpoint    = "parca-store-endpoint"
    provide_cmr_mesh        = "provide-cmr-mesh"
    self_profiling_endpoint = "self-profiling-endpoint"
    slos                    = "slos"
  }
}

output "requires" {
  description = "Endpoints that want a provider: a name for each, with underscores, and what it is called in Juju."
  value = {
    catalogue                     = "catalogue"
    certificates                  = "certificates"
    charm_tracing                 = "charm-tracing"
    external_parca_store_endpoint = "external-parca-store-endpoint"
    ingress                       = "ingress"
    istio_ingress                 = "istio-ingress"
    logging                       = "logging"
    profiling_endpoint            = "profiling-endpoint"
    require_cmr_mesh              = "require-cmr-mesh"
    s3                            = "s3"
    service_mesh                  = "service-mesh"
    workload_tracing              = "workload-tracing"
  }
}

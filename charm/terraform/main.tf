resource "juju_application" "parca" {
  name       = var.app_name
  model_uuid = var.model_uuid

  charm {
    name     = "parca-k8s"
    channel  = var.channel
    revision = var.revision
    base     = var.base
  }

  config             = var.config
  constraints        = var.constraints
  resources          = var.resources
  storage_directives = var.storage_directives
  # The charm labels its own pods for a service mesh, through the Kubernetes API.
  trust = true
  # A second unit would have a part of the profiles: the charm blocks it.
  units = 1
}

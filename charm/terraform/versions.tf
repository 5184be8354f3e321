terraform {
  required_version = ">= 1.5"

  required_providers {
    juju = {
      source = "juju/juju"
      # The first that names models by UUID.
      version = ">= 1.0"
    }
  }
}

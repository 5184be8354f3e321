variable "app_name" {
  description = "Name of the application in the model."
  type        = string
  default     = "parca"
}

variable "base" {
  description = "Base to deploy on: ubuntu@22.04, ubuntu@24.04 or ubuntu@26.04. Null leaves the choice to Juju."
  type        = string
  default     = null
}

variable "channel" {
  description = "Channel to deploy the charm from."
  type        = string
}

variable "config" {
  description = "Options of the charm, as `juju config` takes them."
  type        = map(string)
  default     = {}
}

variable "constraints" {
  description = "Constraints of the application, such as mem=8G."
  type        = string
  default     = "arch=amd64"
}

variable "model_uuid" {
  description = "UUID of the model to deploy to."
  type        = string
}

variable "resources" {
  description = "The image, such as {parca-image = \"REGISTRY/decima:0.1.0\"}. Empty: that of the charm's revision."
  type        = map(string)
  default     = {}
}

variable "revision" {
  description = "Revision of the charm. Null: the newest of the channel."
  type        = number
  default     = null
}

variable "storage_directives" {
  description = "Size and pool of the volume for profiles, such as {profiles = \"20G\"}."
  type        = map(string)
  default     = {}
}

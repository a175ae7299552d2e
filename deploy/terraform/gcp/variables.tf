variable "name" {
  description = "Prefix of everything's name, such as shadow-production"
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}$", var.name))
    error_message = "name must be 3 to 21 lower-case letters, digits or -, and begin with a letter."
  }
}

variable "region" {
  description = "Region of Google Cloud"
  type        = string
  default     = "europe-west3"
}

variable "kubernetes_version" {
  description = "Version of the cluster; 1.30 or later"
  type        = string
  default     = "1.34"
}

variable "is_protected" {
  description = "Whether databases and buckets refuse to be deleted"
  type        = bool
  default     = true
}

variable "project" {
  description = "Project of Google Cloud"
  type        = string
}

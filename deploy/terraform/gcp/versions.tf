# Example, not a module to use as it is: see ../README.md.
terraform {
  required_version = ">= 1.7"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    project = "shadow-platform"
    stack   = var.name
  }
}

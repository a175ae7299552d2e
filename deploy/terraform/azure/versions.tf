# Example, not a module to use as it is: see ../README.md.
terraform {
  required_version = ">= 1.7"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
}

provider "azurerm" {
  features {}
}

locals {
  # Registries, caches and storage accounts share one namespace of letters and digits over all of Azure.
  short = substr(replace("${var.name}${random_string.suffix.result}", "-", ""), 0, 24)
  tags  = { project = "shadow-platform", stack = var.name }
}

resource "random_string" "suffix" {
  length  = 5
  upper   = false
  special = false
}

resource "azurerm_resource_group" "main" {
  name     = var.name
  location = var.location
  tags     = local.tags
}

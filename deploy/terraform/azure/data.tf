resource "random_password" "postgres" {
  length  = 32
  special = false
}

# Dagster, MLflow and Feast's registry: three databases of one server.
resource "azurerm_postgresql_flexible_server" "postgres" {
  name                          = local.short
  location                      = azurerm_resource_group.main.location
  resource_group_name           = azurerm_resource_group.main.name
  version                       = "16"
  sku_name                      = "GP_Standard_D2ds_v5"
  storage_mb                    = 65536
  administrator_login           = "shadow"
  administrator_password        = random_password.postgres.result
  delegated_subnet_id           = azurerm_subnet.postgres.id
  private_dns_zone_id           = azurerm_private_dns_zone.postgres.id
  public_network_access_enabled = false
  backup_retention_days         = 14
  geo_redundant_backup_enabled  = var.is_protected
  tags                          = local.tags
  depends_on                    = [azurerm_private_dns_zone_virtual_network_link.postgres]
}

resource "azurerm_postgresql_flexible_server_database" "each" {
  for_each = toset(["dagster", "mlflow", "feast"])

  name      = each.key
  server_id = azurerm_postgresql_flexible_server.postgres.id
}

# Online features. No eviction: a feature that is gone is imputed silently.
resource "azurerm_redis_cache" "redis" {
  name                 = local.short
  location             = azurerm_resource_group.main.location
  resource_group_name  = azurerm_resource_group.main.name
  capacity             = 1
  family               = "C"
  sku_name             = "Standard"
  minimum_tls_version  = "1.2"
  non_ssl_port_enabled = false
  tags                 = local.tags

  redis_configuration {
    maxmemory_policy = "noeviction"
  }
}

# Events and the logs on their way: Event Hubs speaks Kafka on port 9093, from the tier Standard on. A message may have
# 1 MB; the tier Dedicated allows 20.
resource "azurerm_eventhub_namespace" "kafka" {
  name                = local.short
  location            = azurerm_resource_group.main.location
  resource_group_name = azurerm_resource_group.main.name
  sku                 = "Premium"
  capacity            = 1
  minimum_tls_version = "1.2"
  tags                = local.tags
}

# Blob storage does not speak S3: FEATURES_URL and TABLES_URL need a gateway before it, or another store.
resource "azurerm_storage_account" "tables" {
  name                            = local.short
  location                        = azurerm_resource_group.main.location
  resource_group_name             = azurerm_resource_group.main.name
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  min_tls_version                 = "TLS1_2"
  allow_nested_items_to_be_public = false
  tags                            = local.tags

  blob_properties {
    versioning_enabled = true
  }
}

resource "azurerm_storage_container" "tables" {
  name                  = "shadow-platform"
  storage_account_id    = azurerm_storage_account.tables.id
  container_access_type = "private"
}

# The platform's home, which many nodes mount: by NFS, so by the class of deploy/k8s/examples/storage-classes.yaml with
# this account's name. The classes that come with the cluster speak SMB, which keeps neither locks nor renames.
resource "azurerm_storage_account" "home" {
  name                       = substr("${local.short}home", 0, 24)
  location                   = azurerm_resource_group.main.location
  resource_group_name        = azurerm_resource_group.main.name
  account_kind               = "FileStorage"
  account_tier               = "Premium"
  account_replication_type   = "ZRS"
  https_traffic_only_enabled = false
  tags                       = local.tags

  network_rules {
    default_action             = "Deny"
    virtual_network_subnet_ids = [azurerm_subnet.nodes.id]
  }
}

# The cluster makes the share of a claim in this account.
resource "azurerm_role_assignment" "home" {
  scope                            = azurerm_storage_account.home.id
  role_definition_name             = "Storage Account Contributor"
  principal_id                     = azurerm_kubernetes_cluster.main.identity[0].principal_id
  skip_service_principal_aad_check = true
}

output "cluster_name" {
  description = "Name to get a kubeconfig for"
  value       = azurerm_kubernetes_cluster.main.name
}

output "registry" {
  description = "Where the images go; REGISTRY of the workflows"
  value       = azurerm_container_registry.images.login_server
}

output "kafka_bootstrap_servers" {
  description = "KAFKA_BOOTSTRAP_SERVERS"
  value       = "${azurerm_eventhub_namespace.kafka.name}.servicebus.windows.net:9093"
}

output "bucket" {
  description = "Bucket of FEATURES_URL, TABLES_URL and MLflow's artifacts"
  value       = azurerm_storage_container.tables.name
}

output "redis_url" {
  description = "REDIS_URL, for the secret store"
  value       = "rediss://:${azurerm_redis_cache.redis.primary_access_key}@${azurerm_redis_cache.redis.hostname}:${azurerm_redis_cache.redis.ssl_port}"
  sensitive   = true
}

output "postgres_host" {
  description = "Host of Dagster's, MLflow's and Feast's databases"
  value       = azurerm_postgresql_flexible_server.postgres.fqdn
}

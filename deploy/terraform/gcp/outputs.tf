output "cluster_name" {
  description = "Name to get a kubeconfig for"
  value       = google_container_cluster.main.name
}

output "registry" {
  description = "Where the images go; REGISTRY of the workflows"
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "kafka_bootstrap_servers" {
  description = "KAFKA_BOOTSTRAP_SERVERS"
  value       = "bootstrap.${google_managed_kafka_cluster.kafka.cluster_id}.${var.region}.managedkafka.${var.project}.cloud.goog:9092"
}

output "bucket" {
  description = "Bucket of FEATURES_URL, TABLES_URL and MLflow's artifacts"
  value       = google_storage_bucket.tables.name
}

output "redis_url" {
  description = "REDIS_URL, for the secret store"
  value       = "redis://:${google_redis_instance.redis.auth_string}@${google_redis_instance.redis.host}:${google_redis_instance.redis.port}"
  sensitive   = true
}

output "postgres_host" {
  description = "Host of Dagster's, MLflow's and Feast's databases"
  value       = google_sql_database_instance.postgres.private_ip_address
}

output "cluster_name" {
  description = "Name to get a kubeconfig for"
  value       = module.cluster.cluster_name
}

output "registry" {
  description = "Where the images go; REGISTRY of the workflows"
  value       = trimsuffix(aws_ecr_repository.image["serving"].repository_url, "/shadow-platform/serving")
}

output "kafka_bootstrap_servers" {
  description = "KAFKA_BOOTSTRAP_SERVERS"
  value       = aws_msk_cluster.kafka.bootstrap_brokers_sasl_scram
}

output "bucket" {
  description = "Bucket of FEATURES_URL, TABLES_URL and MLflow's artifacts"
  value       = aws_s3_bucket.tables.bucket
}

output "redis_url" {
  description = "REDIS_URL, for the secret store"
  value       = "rediss://:${random_password.redis.result}@${aws_elasticache_replication_group.redis.primary_endpoint_address}:6379"
  sensitive   = true
}

output "postgres_host" {
  description = "Host of Dagster's, MLflow's and Feast's databases"
  value       = aws_db_instance.postgres.address
}

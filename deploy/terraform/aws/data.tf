resource "random_password" "redis" {
  length  = 32
  special = false
}

# Dagster, MLflow and Feast's registry: three databases of one server. AWS makes the password and keeps it.
resource "aws_db_subnet_group" "postgres" {
  name       = var.name
  subnet_ids = module.network.private_subnets
}

resource "aws_db_instance" "postgres" {
  identifier                  = var.name
  engine                      = "postgres"
  engine_version              = "17"
  instance_class              = "db.m7g.large"
  allocated_storage           = 50
  max_allocated_storage       = 500
  storage_encrypted           = true
  multi_az                    = var.is_protected
  db_subnet_group_name        = aws_db_subnet_group.postgres.name
  vpc_security_group_ids      = [aws_security_group.servers.id]
  username                    = "shadow"
  manage_master_user_password = true
  backup_retention_period     = 14
  deletion_protection         = var.is_protected
  skip_final_snapshot         = !var.is_protected
  final_snapshot_identifier   = "${var.name}-last"
  publicly_accessible         = false
}

# Online features. No eviction: a feature that is gone is imputed silently.
resource "aws_elasticache_parameter_group" "redis" {
  name   = var.name
  family = "valkey8"

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_subnet_group" "redis" {
  name       = var.name
  subnet_ids = module.network.private_subnets
}

resource "aws_elasticache_replication_group" "redis" {
  replication_group_id       = var.name
  description                = "Online features"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = "cache.m7g.large"
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  parameter_group_name       = aws_elasticache_parameter_group.redis.name
  subnet_group_name          = aws_elasticache_subnet_group.redis.name
  security_group_ids         = [aws_security_group.servers.id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = random_password.redis.result
  snapshot_retention_limit   = 7
}

# Events and the logs on their way. min.insync.replicas 2: an acknowledged line is on two brokers.
resource "aws_msk_configuration" "kafka" {
  name           = var.name
  kafka_versions = ["3.9.x"]

  server_properties = <<-PROPERTIES
    auto.create.topics.enable = false
    default.replication.factor = 3
    min.insync.replicas = 2
    message.max.bytes = 4194304
    log.retention.hours = 168
  PROPERTIES
}

resource "aws_msk_cluster" "kafka" {
  cluster_name           = var.name
  kafka_version          = "3.9.x"
  number_of_broker_nodes = 3

  broker_node_group_info {
    instance_type   = "kafka.m7g.large"
    client_subnets  = module.network.private_subnets
    security_groups = [aws_security_group.servers.id]

    storage_info {
      ebs_storage_info {
        volume_size = 200
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.kafka.arn
    revision = aws_msk_configuration.kafka.latest_revision
  }

  client_authentication {
    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_in_transit {
      client_broker = "TLS"
    }
  }
}

resource "aws_s3_bucket" "tables" {
  bucket_prefix = "${var.name}-"
  force_destroy = !var.is_protected
}

resource "aws_s3_bucket_versioning" "tables" {
  bucket = aws_s3_bucket.tables.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "tables" {
  bucket                  = aws_s3_bucket.tables.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# The platform's home, which many nodes mount.
resource "aws_efs_file_system" "home" {
  encrypted       = true
  throughput_mode = "elastic"
}

resource "aws_efs_mount_target" "home" {
  count = 3

  file_system_id  = aws_efs_file_system.home.id
  subnet_id       = module.network.private_subnets[count.index]
  security_groups = [aws_security_group.servers.id]
}

resource "random_password" "postgres" {
  length  = 32
  special = false
}

# Dagster, MLflow and Feast's registry: three databases of one server, one user: the platform's URLs carry a password.
resource "google_sql_database_instance" "postgres" {
  name                = var.name
  database_version    = "POSTGRES_17"
  deletion_protection = var.is_protected
  depends_on          = [google_service_networking_connection.servers]

  settings {
    tier              = "db-custom-2-8192"
    edition           = "ENTERPRISE"
    availability_type = var.is_protected ? "REGIONAL" : "ZONAL"

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
  }
}

resource "google_sql_database" "each" {
  for_each = toset(["dagster", "mlflow", "feast"])

  name     = each.key
  instance = google_sql_database_instance.postgres.name
}

resource "google_sql_user" "shadow" {
  name     = "shadow"
  instance = google_sql_database_instance.postgres.name
  password = random_password.postgres.result
}

# Online features, inside the network without TLS: Memorystore's certificate is of an authority of its own, which every
# client would have to be given (`?ssl_ca_certs=FILE`, port 6378). No eviction: a feature that is gone is imputed silently.
resource "google_redis_instance" "redis" {
  name                    = var.name
  tier                    = "STANDARD_HA"
  memory_size_gb          = 5
  redis_version           = "REDIS_7_2"
  authorized_network      = google_compute_network.main.id
  connect_mode            = "PRIVATE_SERVICE_ACCESS"
  auth_enabled            = true
  transit_encryption_mode = "DISABLED"
  depends_on              = [google_service_networking_connection.servers]

  redis_configs = {
    maxmemory-policy = "noeviction"
  }
}

# Events and the logs on their way.
resource "google_managed_kafka_cluster" "kafka" {
  cluster_id = var.name
  location   = var.region

  capacity_config {
    vcpu_count   = 3
    memory_bytes = 12884901888
  }

  gcp_config {
    access_config {
      network_configs {
        subnet = google_compute_subnetwork.main.id
      }
    }
  }
}

resource "google_storage_bucket" "tables" {
  name                        = "${var.project}-${var.name}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.is_protected

  versioning {
    enabled = true
  }
}

# The platform's home, which many nodes mount.
resource "google_filestore_instance" "home" {
  name     = var.name
  location = "${var.region}-b"
  tier     = "ZONAL"

  file_shares {
    name        = "home"
    capacity_gb = 1024
  }

  networks {
    network = google_compute_network.main.name
    modes   = ["MODE_IPV4"]
  }
}

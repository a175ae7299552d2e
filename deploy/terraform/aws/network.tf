module "network" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "~> 6.0"

  name            = var.name
  cidr            = "10.0.0.0/16"
  azs             = [for zone in ["a", "b", "c"] : "${var.region}${zone}"]
  private_subnets = ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]
  public_subnets  = ["10.0.101.0/24", "10.0.102.0/24", "10.0.103.0/24"]

  enable_nat_gateway = true
  single_nat_gateway = !var.is_protected
}

# The servers answer to the cluster's nodes alone.
resource "aws_security_group" "servers" {
  name        = "${var.name}-servers"
  description = "Postgres, Redis, Kafka and the shared file system, from inside the network"
  vpc_id      = module.network.vpc_id

  dynamic "ingress" {
    for_each = { postgres = 5432, redis = 6379, kafka = 9096, files = 2049 }

    content {
      description     = ingress.key
      from_port       = ingress.value
      to_port         = ingress.value
      protocol        = "tcp"
      security_groups = [module.cluster.node_security_group_id]
    }
  }
}

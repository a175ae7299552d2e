module "cluster" {
  source  = "terraform-aws-modules/eks/aws"
  version = "~> 21.0"

  name               = var.name
  kubernetes_version = var.kubernetes_version
  vpc_id             = module.network.vpc_id
  subnet_ids         = module.network.private_subnets
  enable_irsa        = true

  addons = {
    coredns            = {}
    kube-proxy         = {}
    vpc-cni            = { before_compute = true, configuration_values = jsonencode({ enableNetworkPolicy = "true" }) }
    aws-efs-csi-driver = {}
  }

  eks_managed_node_groups = {
    default = {
      instance_types = ["m7i.xlarge"]
      min_size       = 3
      max_size       = 8
      desired_size   = 3
    }
  }
}

resource "aws_ecr_repository" "image" {
  for_each = toset(["serving", "platform"])

  name                 = "shadow-platform/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

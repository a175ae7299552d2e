module "cluster" {
  source  = "terraform-aws-modules/eks/aws"
  version = "~> 21.0"

  name               = var.name
  kubernetes_version = var.kubernetes_version
  vpc_id             = module.network.vpc_id
  subnet_ids         = module.network.private_subnets
  enable_irsa        = true

  addons = {
    coredns                = {}
    kube-proxy             = {}
    vpc-cni                = { before_compute = true, configuration_values = jsonencode({ enableNetworkPolicy = "true" }) }
    eks-pod-identity-agent = { before_compute = true }
    aws-efs-csi-driver = {
      pod_identity_association = [{ role_arn = module.file_driver.iam_role_arn, service_account = "efs-csi-controller-sa" }]
    }
    aws-ebs-csi-driver = {
      pod_identity_association = [{ role_arn = module.disk_driver.iam_role_arn, service_account = "ebs-csi-controller-sa" }]
    }
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

# What makes volumes asks AWS for access points and disks: without a role every claim waits for ever.
module "file_driver" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "~> 2.0"

  name                      = "${var.name}-files"
  attach_aws_efs_csi_policy = true
}

module "disk_driver" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "~> 2.0"

  name                      = "${var.name}-disks"
  attach_aws_ebs_csi_policy = true
}

resource "aws_ecr_repository" "image" {
  for_each = toset(["serving", "platform"])

  name                 = "shadow-platform/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

"""Checks of Kubernetes manifests without a cluster: what an API server and KubeRay would refuse."""

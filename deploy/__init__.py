"""What runs in the cluster: the Cluster port, the manifests of a function, charts and images."""

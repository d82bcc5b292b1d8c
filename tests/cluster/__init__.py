"""A real one-node Kubernetes cluster for tests, in namespaces of its own; see README.md."""

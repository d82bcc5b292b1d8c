"""The Helm chart, rendered by the real helm and compared with what kustomize builds."""

"""All that faces the kubelet."""

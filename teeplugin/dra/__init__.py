"""The DRA driver: publishes the node's TEE memory, and prepares claims. Loaded in DRA mode only."""

"""What people type beside the daemon."""

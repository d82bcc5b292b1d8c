"""Tests of deploy/monitoring: alerts and dashboard against what the plugin really tells."""

"""Elastic workers: as many Kubernetes Jobs of one worker pod as the queue needs, by reconciliation with a listing."""

"""Elastic workers: as many Kubernetes Jobs of one worker pod as the queue needs, kept up by listing and comparing."""

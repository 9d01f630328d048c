"""Searches as objects of Kubernetes: custom resources of the kind Search, run by the leader, by reconciliation."""

"""Delivery of notifications: HTTP and mail, to whom the outbox says, without holding up anything else."""

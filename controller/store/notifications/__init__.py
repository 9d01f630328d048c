"""Subscriptions, and the outbox of notifications to them."""

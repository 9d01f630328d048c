"""Kinds and states of experiments, states of trials, and roles. ARCHITECTURE.md has the tables."""

from typing import Literal

ExperimentState = Literal["running", "paused", "succeeded", "failed", "cancelled"]
ExperimentKind = Literal["search", "comparison", "training"]
TrialState = Literal["queued", "running", "succeeded", "pruned", "failed", "cancelled"]
Stage = Literal["pilot", "rounds", "closing", "confirm", "rates", "trainings"]
Outcome = Literal["succeeded", "pruned", "failed", "preempted", "paused", "expired", "cancelled"]
Archived = Literal["no", "only", "all"]
"""Which experiments a list has: those that are not archived, those that are, or both."""
Role = Literal["viewer", "user", "worker", "admin"]
TokenRole = Literal["viewer", "user", "admin"]
"""Of people, each with the rights of those before it."""

OPEN_TRIAL_STATES = ("queued", "running")
REWARDED_STATES = ("succeeded", "pruned")
FINAL_EXPERIMENT_STATES = ("succeeded", "failed", "cancelled")

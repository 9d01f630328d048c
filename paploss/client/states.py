"""The states of a search and of a trial, and who may ask for what. ARCHITECTURE.md has the tables."""

from typing import Literal

SearchState = Literal["running", "paused", "succeeded", "failed", "cancelled"]
TrialState = Literal["queued", "running", "succeeded", "pruned", "failed", "cancelled"]
Stage = Literal["rounds", "confirm", "rates", "trainings"]
Outcome = Literal["succeeded", "pruned", "failed", "preempted", "paused", "expired", "cancelled"]
Role = Literal["viewer", "user", "worker", "admin"]

OPEN_TRIAL_STATES = ("queued", "running")
REWARDED_STATES = ("succeeded", "pruned")
FINAL_SEARCH_STATES = ("succeeded", "failed", "cancelled")

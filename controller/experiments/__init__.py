"""What runs: one object for each kind of experiment, with its stages, its next action and the jobs of its trials."""

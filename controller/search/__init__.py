"""The search: space, policy, algorithms and rules. Pure functions over numpy arrays; no input or output, no clock."""

"""The contract between controller, worker and trainer: jobs, lease messages, published presets, the queue."""

"""The contract between controller, worker and trainer: job specifications, lease messages, published presets, the queue."""

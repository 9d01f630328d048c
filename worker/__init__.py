"""The worker: takes trials from the queue, runs the trainer as a child process, keeps its lease, reports its result."""

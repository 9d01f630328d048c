"""Experiments as runs of the tools where people keep theirs: MLflow and TensorBoard.

Reads a controller through the client and writes to a target, which knows by the ids in it what has been written. So it
is a program of its own that no trial waits for, and that may be stopped, repeated, and started late.
"""

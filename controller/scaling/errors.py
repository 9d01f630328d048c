"""Errors of elastic workers; every text is shown to users."""


class PoolsError(ValueError):
    """The file of pools cannot be used; the text names the file and the field."""


class ClusterError(Exception):
    """The cluster cannot be reached, or refuses."""

"""The command line `paploss`.

Commands talk to a controller over HTTP. `up`, `serve` and `search` run one; some for its operator use its database.
"""

"""The command line `paploss`. Commands talk to a controller over HTTP; only `up` and `serve` are one."""

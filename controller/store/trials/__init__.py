"""The life of trials: proposed, leased, ended."""

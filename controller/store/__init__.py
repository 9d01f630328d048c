"""The truth: tables, their migrations, and every transition between states, each one transaction."""

"""The database: tables, their migrations, and every state transition, each one transaction."""

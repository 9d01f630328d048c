"""Read-only queries for the API, the page and monitoring."""

"""Authentication, authorization, rate limits, and the checks of every request."""

"""Who a request comes from, what it may do, and what every request passes first."""

"""What drives searches from proposal to best loss; one leader at a time."""

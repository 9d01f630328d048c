"""What the API, the page and monitoring read; nothing here writes."""

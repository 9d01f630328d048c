"""What several programs ask of the operating system; the standard library is all it needs."""

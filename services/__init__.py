"""Long-running processes. Each service is a package with its own requirements."""

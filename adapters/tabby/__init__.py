"""TabbyML's server."""

"""Does Dragoman answer as each server itself would? Recordings, expectations and vectors against a running gateway."""

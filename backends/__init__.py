"""The bottom layer: what can be asked of a model, what comes back, and everything that can answer."""

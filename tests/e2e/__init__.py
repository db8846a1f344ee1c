"""Real clients, over real sockets, against a real Dragoman process with the embedded model."""

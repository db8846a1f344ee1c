"""The server of llama-cpp-python."""

"""Ollama: its native API, and its accent of OpenAI's and Anthropic's."""

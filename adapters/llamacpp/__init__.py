"""llama.cpp's own server: its native routes, and its accent of OpenAI's and Anthropic's."""

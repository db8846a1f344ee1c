"""OpenAI's API, as the platform and vLLM's server speak it; other servers' accents subclass it."""

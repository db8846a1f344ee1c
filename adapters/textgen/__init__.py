"""oobabooga's text-generation-webui."""

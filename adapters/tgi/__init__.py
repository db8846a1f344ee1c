"""Hugging Face's text-generation-inference (TGI)."""

"""The embedded model: its weights, its tokenizer, its card, and the scripts that made and measure it."""

from pathlib import Path

FOLDER = Path(__file__).parent

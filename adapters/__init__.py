"""The middle layer: foreign wire formats in, the same formats out. Knows backends; never HTTP."""

"""The top layer: HTTP. Wires adapters to backends; knows no wire format and no model."""

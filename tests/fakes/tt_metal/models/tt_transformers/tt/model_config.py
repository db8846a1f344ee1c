from __future__ import annotations


class DecodersPrecision:
    def __init__(self, name: str, num_decoders: int, model_name: str) -> None:
        self.name = name
        self.num_decoders = num_decoders
        self.model_name = model_name

    @classmethod
    def performance(cls, num_decoders: int, model_name: str) -> DecodersPrecision:
        return cls("performance", num_decoders, model_name)

    @classmethod
    def accuracy(cls, num_decoders: int, model_name: str) -> DecodersPrecision:
        return cls("accuracy", num_decoders, model_name)

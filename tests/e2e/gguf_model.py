"""The embedded model as a GGUF file, for servers of llama.cpp's kind: `python gguf_model.py OUT`, in their environment.

Knows what llama.cpp's conversion of a Llama does to names and to the rows of the rotary projections (gguf-py's
tensor_mapping.py, convert_hf_to_gguf.py). Imports nothing of Dragoman's: it runs beside `gguf`, which we don't need.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np

FOLDER = Path(__file__).parents[2] / "backends/engine/demo"
LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # kinds of tokens
FILLS_IN = {"pre": "<fim_prefix>", "suf": "<fim_suffix>", "mid": "<fim_middle>"}


def write(path: Path) -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("demo")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    add_tokenizer(writer, config)
    for name, tensor in tensors(config):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    tokenizer = json.loads((FOLDER / "tokenizer.json").read_text())
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    ids = tokenizer["model"]["vocab"] | {token["content"]: index for index, token in added.items()}
    texts = {index: text for text, index in ids.items()}
    kinds = {index: CONTROL if token["special"] else USER_DEFINED for index, token in added.items()}
    every = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([texts.get(index, f"[unused {index}]") for index in every])
    writer.add_token_types([kinds.get(index, NORMAL if index in texts else UNUSED) for index in every])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"][0])
    writer.add_add_bos_token(True)
    for kind, text in FILLS_IN.items():
        writer.add_uint32(f"tokenizer.ggml.fim_{kind}_token_id", ids[text])
    writer.add_chat_template((FOLDER / "chat_template.jinja").read_text())


def tensors(config: dict[str, Any]) -> Any:
    """As float32: what the engine computes with."""
    data = np.fromfile(FOLDER / "model.safetensors", np.uint8)
    start = 8 + int(data[:8].view("<u8")[0])
    for name, entry in json.loads(data[8:start].tobytes()).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        upper = data[start + begin : start + end].view("<u2").astype(np.uint32)
        yield placed(name, (upper << 16).view(np.float32).reshape(entry["shape"]), config)


def placed(name: str, tensor: Any, config: dict[str, Any]) -> tuple[str, Any]:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight", tensor
    if name == "model.norm.weight":
        return "output_norm.weight", tensor
    _, _, layer, rest = name.split(".", 3)
    part = rest.removesuffix(".weight")
    heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}
    if part in heads:
        tensor = interleaved(tensor, config[heads[part]])
    return f"blk.{layer}.{LAYER_NAMES[part]}.weight", tensor


def interleaved(tensor: Any, num_heads: int) -> Any:
    """GGUF's Llama turns neighbours, Hugging Face's the two halves of a head."""
    rows, columns = tensor.shape
    halves = tensor.reshape(num_heads, 2, rows // num_heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

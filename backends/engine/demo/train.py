"""Train the embedded model from the standard library alone, and write a Hugging Face folder.

    pip install torch==2.13.0 tokenizers safetensors numpy
    python backends/engine/demo/train.py --out /tmp/demo --minutes 80 --threads 2
    python backends/engine/demo/train.py --out /tmp/demo --minutes 30 --resume /tmp/demo --peak 0.35 --seed 1

Needs no network and no GPU, and a C++ compiler for `torch.compile`. Set MALLOC_MMAP_THRESHOLD_ and
MALLOC_TRIM_THRESHOLD_ to some gigabytes: reusing memory makes it a third faster on Linux. The schedule follows the
clock, so a slower machine gives a worse model, never an unfinished one. Long positions are learnt by skipping (PoSE,
Zhu et al. 2023): a row of 512 tokens is given positions spread over the whole window, which costs nothing more than a
plain row.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from corpus import END, SPECIAL_TOKENS, TURN_END, Documents, SourceFile, standard_library
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

WINDOW = 32_768
SHORT_ROW = 256  # tokens in most rows of the first part of training, where a long row would only cost attention
ROW = 512  # tokens in most rows after that
LONG_ROW = 2_048  # tokens in every eighth batch's rows
LONGEST_ROW = 8_192  # the same, in the second part
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Field names as in a Hugging Face `config.json`."""

    vocab_size: int = 4096
    hidden_size: int = 192
    num_hidden_layers: int = 5
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 512
    rms_norm_eps: float = 1e-5
    rope_theta: float = 50_000.0


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, heads, kv = shape.hidden_size, shape.num_attention_heads, shape.num_key_value_heads
        self.q_proj = nn.Linear(width, heads * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv * shape.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * shape.head_dim, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, _ = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(rows, length, -1, self.shape.head_dim).transpose(1, 2)

        q, k, v = (
            rotate(heads(self.q_proj(x)), cos, sin),
            rotate(heads(self.k_proj(x)), cos, sin),
            heads(self.v_proj(x)),
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Module names are those of Hugging Face's `LlamaModel`, so that the state dict needs only a prefix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        exponents = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        self.register_buffer("frequencies", shape.rope_theta**-exponents, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 if "embed" in name else parameter.shape[1] ** -0.5)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.data.mul_((2 * shape.num_hidden_layers) ** -0.5)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """tokens and positions [rows, length] → logits [rows, length, vocab]; the output matrix is the embedding."""
        angles = positions[..., None].float() * self.frequencies
        angles = torch.cat((angles, angles), -1)[:, None]
        cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def loss_of(model: nn.Module, tokens: Tensor, targets: Tensor, positions: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(tokens, positions)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def train_tokenizer(files: list[SourceFile], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((file.text for file in files if not file.is_test), trainer)
    # every document of the training stream follows the end of another, so that is how a prompt must begin, too
    end = (END, tokenizer.token_to_id(END))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[end])
    return tokenizer


class Batches:
    """Packs documents into rows; every eighth batch has long rows, every fourth skipped positions."""

    def __init__(self, documents: Documents, tokenizer: Tokenizer, num_tokens: int) -> None:
        self.documents, self.tokenizer, self.num_tokens = documents, tokenizer, num_tokens
        self.pending: list[int] = []

    def take(self, step: int, done: float) -> tuple[Tensor, Tensor, Tensor]:
        """(tokens, targets, positions), each [rows, length]; done: the share of the time that has gone by."""
        length = self._row_length(step, done)
        while len(self.pending) <= self.num_tokens:
            for encoding in self.tokenizer.encode_batch(
                [self.documents.sample() for _ in range(16)], add_special_tokens=False
            ):
                self.pending += encoding.ids
        stream = torch.tensor(self.pending[: self.num_tokens + 1])
        del self.pending[: self.num_tokens]
        tokens, targets = stream[:-1].view(-1, length), stream[1:].view(-1, length)
        positions = torch.arange(length).expand_as(tokens)
        return tokens, targets, skipped(positions) if step % 4 == 1 else positions

    def _row_length(self, step: int, done: float) -> int:
        if step % 8 == 7:
            return LONG_ROW
        if done < 0.55:
            return SHORT_ROW
        return LONGEST_ROW if step % 8 == 3 else ROW


def skipped(positions: Tensor) -> Tensor:
    """Push each row's positions apart at two random places, to anywhere within the window."""
    rows, length = positions.shape
    cuts = torch.randint(1, length, (rows, 2, 1))
    jumps = (torch.rand(rows, 2, 1) * (WINDOW - length) / 2).long()
    return positions + (jumps * (positions[:, None] >= cuts)).sum(1)


class HeldOut:
    """The first held-out tokens in rows of 512: a quick guide while training. `evaluate.py` measures all of them."""

    def __init__(self, files: list[SourceFile], tokenizer: Tokenizer, num_rows: int = 48) -> None:
        encoded = tokenizer.encode_batch([file.text for file in files], add_special_tokens=False)
        end = tokenizer.token_to_id(END)
        ids = [token for encoding in encoded for token in (*encoding.ids, end)]
        self.bytes_per_token = sum(len(file.text.encode()) for file in files) / len(ids)
        stream = torch.tensor(ids[: num_rows * ROW + 1])
        self.tokens, self.targets = stream[:-1].view(-1, ROW), stream[1:].view(-1, ROW)

    @torch.no_grad()
    def bits_per_byte(self, model: nn.Module) -> float:
        positions = torch.arange(ROW).expand(16, ROW)
        parts = zip(self.tokens.split(16), self.targets.split(16), strict=True)
        losses = [loss_of(model, tokens, targets, positions).item() for tokens, targets in parts]
        return sum(losses) / len(losses) / math.log(2) / self.bytes_per_token


class Optimizer:
    """Muon for the matrices, AdamW for embedding and norms; warm up, hold, then decay to nothing."""

    def __init__(self, model: nn.Module) -> None:
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        self.others = [p for name, p in named if p.ndim < 2 or "embed" in name]
        muon = torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original")
        adam = torch.optim.AdamW(self.others, lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0)
        self.parts = [(muon, 0.02), (adam, 4e-3)]

    def step(self, scale: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.others, 1.0)
        for part, rate in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * scale
            part.step()
            part.zero_grad(set_to_none=True)


def rate_scale(step: int, done: float, peak: float) -> float:
    """done: the share of the time that has gone by, 0 to 1."""
    return peak * min(1.0, (step + 1) / 50) * (1.0 if done < 0.35 else max(0.01, (1 - done) / 0.65))


def load_weights(model: Llama, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): tensor.float() for name, tensor in weights.items()})


def save(model: Llama, shape: Shape, tokenizer: Tokenizer, log: list[dict[str, float]], out: Path) -> None:
    """Weights in bfloat16 under Hugging Face's names, and the files that its loaders read."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": tensor.detach().bfloat16().clone() for name, tensor in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    stops = [tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END)]
    sizes = {name: getattr(shape, name) for name in shape.__slots__}
    write_json(out / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", **sizes,
        "max_position_embeddings": WINDOW, "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False,
        "mlp_bias": False, "rope_scaling": None, "bos_token_id": stops[1], "eos_token_id": stops,
        "pad_token_id": stops[1], "initializer_range": 0.02, "use_cache": True,
    })  # fmt: skip
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "add_bos_token": True,
        "eos_token": TURN_END, "pad_token": END, "unk_token": None, "model_max_length": WINDOW,
        "additional_special_tokens": list(SPECIAL_TOKENS[3:8]),
        "clean_up_tokenization_spaces": False,
    })  # fmt: skip
    write_json(out / "generation_config.json", {
        "eos_token_id": stops, "pad_token_id": stops[1], "do_sample": True, "temperature": 0.7, "top_p": 0.9,
    })  # fmt: skip
    write_json(out / "training_log.json", log)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, help="go on from this folder's weights and log")
    parser.add_argument("--peak", type=float, default=1.0, help="scale of the learning rate: less when resuming")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    files = list(standard_library())
    seen, held_out = [f for f in files if not f.is_held_out], [f for f in files if f.is_held_out]
    shape = Shape()
    resume: Path | None = args.resume
    tokenizer = (
        Tokenizer.from_file(str(resume / "tokenizer.json")) if resume else train_tokenizer(seen, shape.vocab_size)
    )
    guide = HeldOut(held_out, tokenizer)
    batches = Batches(Documents(seen, random.Random(args.seed)), tokenizer, args.batch_tokens)
    model = Llama(shape)
    if resume:
        load_weights(model, resume)
    optimizer = Optimizer(model)
    training_loss = torch.compile(loss_of, dynamic=False)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{len(seen)} + {len(held_out)} files, {guide.bytes_per_token:.2f} bytes a token, {size:.2f} M parameters")

    log: list[dict[str, float]] = json.loads((resume / "training_log.json").read_text()) if resume else []
    started, next_report, step = time.monotonic(), 0.0, 0
    while (elapsed := time.monotonic() - started) < args.minutes * 60:
        done = elapsed / (args.minutes * 60)
        loss = training_loss(model, *batches.take(step, done))
        loss.backward()
        optimizer.step(rate_scale(step, done, args.peak))
        step += 1
        if elapsed >= next_report:
            next_report += 120
            log.append(report(model, guide, loss, step, elapsed, args.batch_tokens))
            save(model, shape, tokenizer, log, args.out)
    log.append(report(model, guide, loss, step, elapsed, args.batch_tokens))
    save(model, shape, tokenizer, log, args.out)


def report(
    model: Llama, guide: HeldOut, loss: Tensor, step: int, elapsed: float, batch_tokens: int
) -> dict[str, float]:
    bits = guide.bits_per_byte(model)
    line = {"seconds": round(elapsed), "step": step, "tokens": step * batch_tokens, "loss": round(loss.item(), 3),
            "held_out_bits_per_byte": round(bits, 4)}  # fmt: skip
    print(line, flush=True)
    return line


if __name__ == "__main__":
    main()

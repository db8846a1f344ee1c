"""A model's folder becomes everything that an engine needs. Slow; runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from backends.base import ModelInfo
from backends.engine.blocks import BlockManager
from backends.engine.intake import Intake
from backends.engine.model_info import read_model_info
from backends.engine.numpy_runner import NumpyRunner
from backends.engine.options import EngineOptions
from backends.engine.prompt_encoder import PromptEncoder
from backends.engine.runner import ModelRunner, Say, Traits
from backends.engine.scheduler import Scheduler
from backends.engine.tokenizer import Tokenizer
from backends.errors import BackendFailed

LoadRunner: TypeAlias = Callable[[EngineOptions, Say], tuple[ModelRunner, ModelInfo]]
"""The model on its device, and what is known of it.

Raises BackendFailed, in one line, for a folder that it can't run.
"""


def load_numpy(options: EngineOptions, say: Say) -> tuple[ModelRunner, ModelInfo]:
    """A LoadRunner."""
    say("reading weights")
    return NumpyRunner.load(options.folder, options.max_batch_size), read_model_info(options.folder)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    tokenizer: Tokenizer
    encoder: PromptEncoder
    intake: Intake
    runner: ModelRunner
    scheduler: Scheduler
    info: ModelInfo


def load(options: EngineOptions, load_runner: LoadRunner, say: Say) -> LoadedModel:
    """Raises BackendFailed, whatever goes wrong; the device is let go of then."""
    try:
        return _load(options, load_runner, say)
    except BackendFailed:
        raise
    except Exception as error:
        raise BackendFailed(f"{options.folder}: {type(error).__name__}: {error}") from error


def _load(options: EngineOptions, load_runner: LoadRunner, say: Say) -> LoadedModel:
    if not options.folder.is_dir():
        raise BackendFailed(f"there is no folder {options.folder}: a model at Hugging Face must be downloaded first")
    say("reading the tokenizer")
    tokenizer = Tokenizer.load(options.folder)
    runner, known = load_runner(options, say)
    try:
        return _around(runner, known, tokenizer, options, say)
    except BaseException:
        runner.close()
        raise


def _around(
    runner: ModelRunner, known: ModelInfo, tokenizer: Tokenizer, options: EngineOptions, say: Say
) -> LoadedModel:
    window = options.window_within(runner.window)
    say("reserving the KV cache")
    num_blocks = options.num_blocks_for(window)
    runner.allocate_kv(num_blocks, options.block_size)
    say("preparing templates and grammars")
    encoder = PromptEncoder(tokenizer, runner.vocab_size)
    info = _described(known, window, tokenizer, encoder, runner.traits)
    return LoadedModel(
        tokenizer=tokenizer,
        encoder=encoder,
        intake=Intake(
            tokenizer,
            encoder,
            defaults=info.generation_defaults,
            window=window,
            block_size=options.block_size,
            num_logits=runner.vocab_size,
            gives_all_logits=runner.traits.gives_all_logits,
        ),
        runner=runner,
        scheduler=Scheduler(
            BlockManager(num_blocks),
            block_size=options.block_size,
            max_batch_size=options.max_batch_size,
            step_tokens=options.step_tokens,
            traits=runner.traits,
            completion_slots=options.completion_slots,
        ),
        info=info,
    )


def _described(
    known: ModelInfo, window: int, tokenizer: Tokenizer, encoder: PromptEncoder, traits: Traits
) -> ModelInfo:
    template = encoder.template
    capabilities = {
        "completion": True,
        "embedding": traits.gives_hidden_states,
        "insert": encoder.infill is not None,
        "tools": template.supports_tools,
        "thinking": template.supports_thinking,
    }
    return replace(
        known,
        window=window,
        pooling="mean" if traits.gives_hidden_states else "",
        capabilities=frozenset(name for name, is_there in capabilities.items() if is_there),
        chat_template=template.source,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
    )

"""Content blocks as Anthropic's Messages API takes them → the text and images of the one request model.

Knows no message and no route. What only Anthropic's own servers can read (files, PDFs, the results of their hosted
tools) is refused by name. Wire facts: anthropic-sdk-python `types/content_block_param.py` and its neighbours.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from adapters.body import Fields
from backends.errors import InvalidField, Unsupported
from backends.request import Image


def _as_blocks(value: Any) -> Any:
    """A plain string is one block of text. Done before validation, so that an error names the block at fault."""
    match value:
        case str():
            return [{"type": "text", "text": value}]
        case list() | tuple():
            return value
        case _:
            raise PydanticCustomError("blocks", "Input should be a valid string or array of content blocks")


def _as_source(value: Any) -> Any:
    """Where a search result was found is a plain string."""
    return {"type": "url", "url": value} if isinstance(value, str) else value


class Source(Fields):
    """base64 and text hold data, url a URL, content blocks; `file` names what was uploaded to Anthropic."""

    type: str
    media_type: str | None = None
    data: str = ""
    url: str = ""
    content: Blocks = ()


class Block(Fields):
    """Every kind of block in one class: `type` says which fields count.

    is_error isn't among them: models have no place for it, and the text of a failed call says what went wrong.
    """

    type: str
    text: str = ""
    source: Annotated[Source | None, BeforeValidator(_as_source)] = None
    title: str | None = None
    context: str | None = None
    thinking: str = ""
    signature: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    tool_use_id: str = ""
    content: Blocks = ()
    tool_name: str = ""


Blocks: TypeAlias = Annotated[tuple[Block, ...], BeforeValidator(_as_blocks)]
Source.model_rebuild()
Block.model_rebuild()


def read_content(blocks: Sequence[Block], param: str) -> tuple[str, tuple[Image, ...]]:
    """Texts are joined by a line break. param: the blocks' place in the body. Raises InvalidField or Unsupported."""
    texts: list[str] = []
    images: list[Image] = []
    for index, block in enumerate(blocks):
        if block.type == "image":
            images.append(_read_image(_source(block, f"{param}.{index}"), f"{param}.{index}.source"))
        else:
            texts += _texts(block, f"{param}.{index}")
    return "\n".join(texts), tuple(images)


def _texts(block: Block, param: str) -> Iterator[str]:
    match block.type:
        case "text":
            yield block.text
        case "document":
            yield from filter(None, (block.title, block.context, _document(_source(block, param), f"{param}.source")))
        case "search_result":
            yield from filter(None, (block.title, _source(block, param).url))
            yield read_content(block.content, f"{param}.content")[0]
        case "tool_reference":
            yield block.tool_name
        case kind:
            raise Unsupported(f"content blocks of type '{kind}' are not supported", feature=kind, param=f"{param}.type")


def _document(source: Source, param: str) -> str:
    match source.type:
        case "text":
            return source.data
        case "content":
            return read_content(source.content, f"{param}.content")[0]
        case kind:
            raise Unsupported(
                f"documents of type '{kind}' are not supported: only text can be read",
                feature="documents",
                param=f"{param}.type",
            )


def _source(block: Block, param: str) -> Source:
    if block.source is None:
        raise InvalidField(f"{param}.source", f"a block of type '{block.type}' needs its source")
    return block.source


def _read_image(source: Source, param: str) -> Image:
    match source.type:
        case "url":
            return Image(url=source.url)
        case "base64":
            return Image(media_type=source.media_type, data=_decoded(source.data, param))
        case kind:
            raise Unsupported(
                f"image sources of type '{kind}' are not supported", feature="images", param=f"{param}.type"
            )


def _decoded(data: str, param: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise InvalidField(f"{param}.data", f"the data is not base64: {error}") from None

"""The documents say what the code does: a claim that can be compared is compared here."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from gateway.cli import route_table
from gateway.config import parse
from gateway.routes import ROUTES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [path for path in ROOT.rglob("*.md") if not {".venv", "node_modules"} & set(path.parts)]


def test_the_documents_show_every_route() -> None:
    shown = (ROOT / "docs" / "routes.md").read_text().partition("\n\n|")[2]
    assert f"|{shown}" == route_table(ROUTES) + "\n", "run: dragoman routes, and paste it into docs/routes.md"


def test_the_readme_shows_a_config_that_loads() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    shown = parse("listeners: [{port: 1, persona: openai}]\n" + block, "README.md", {})
    assert shown.models["mine"].aliases == ("gpt-3.5-turbo",)


def test_the_config_of_a_tenstorrent_card_loads() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/tenstorrent.md").read_text(), re.DOTALL)
    assert parse(textwrap.dedent(block), "tenstorrent.md", {}).models["card"].backend == "ttnn"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []

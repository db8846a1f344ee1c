from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.config import (
    Config,
    Listener,
    Model,
    ServedElsewhere,
    ServerModel,
    VllmModel,
    load,
    parse,
)
from gateway.document import ConfigError

ROOT = Path(__file__).parents[2]
LEAST = """
listeners: [{port: 0, persona: openai}]
models:
  demo: {backend: engine}
"""


def problem(text: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "config.yaml", environment)
    return str(caught.value)


def test_the_shipped_file_says_every_option_with_its_default() -> None:
    shipped = load(ROOT / "config.yaml", {})
    least = parse("listeners: [{port: 8000, persona: openai}]\nmodels: {demo: {backend: engine}}", "x", {})
    assert shipped.model_copy(update={"listeners": least.listeners}) == least
    assert [(x.port, x.persona, x.host) for x in shipped.listeners] == [
        (8000, "openai", "127.0.0.1"),
        (8080, "llamacpp", "127.0.0.1"),
        (11434, "ollama", "127.0.0.1"),
    ]


def test_the_shipped_file_names_every_option() -> None:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert set(shipped) == set(Config.model_fields)
    assert set(shipped["listeners"][0]) == set(Listener.model_fields)
    for section in ("access", "limits", "scheduling", "log"):
        assert set(shipped[section]) == set(type(Config.model_fields[section].default).model_fields)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LEAST + "routes: {/old: openai.completion}",
         "config.yaml:5: routes./old: there is no verb 'openai.completion': did you mean openai.completions?"),
        (LEAST + "routes: {old: openai.completions}", "config.yaml:5: routes.old: a path begins with '/'"),
        (LEAST + "colour: red", "config.yaml:5: colour: there is no such option"),
        ("models: {demo: {backend: engine, block_sise: 4}}\nlisteners: [{port: 1, persona: openai}]",
         "config.yaml:1: models.demo.block_sise: there is no such option"),
        (LEAST.replace("engine", "steam"), "config.yaml:4: models.demo.backend: input should be 'engine'"),
        (LEAST.replace("openai", "klingon"), "config.yaml:2: listeners.0.persona: 'klingon' is none of openai"),
        (LEAST.replace("port: 0", "port: no"), "config.yaml:2: listeners.0.port: input should be a valid integer"),
        (LEAST + "  demo: {backend: engine}", "config.yaml:5: models.demo: the key stands here twice"),
        (LEAST + "  other: {backend: engine, aliases: [demo]}",
         "config.yaml:5: models.other: the name 'demo' is taken by models.demo"),
        (LEAST + "default_model: nope", "config.yaml:5: default_model: no model or alias is called 'nope'"),
        (LEAST + "log: {level: '${LEVEL}'}", "config.yaml:5: log.level: the environment has no LEVEL"),
        ("listeners: [", "config.yaml:1: "),
        ("", "config.yaml:1: listeners: field required"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(text: str, complaint: str) -> None:
    said = problem(text)
    assert said.startswith(complaint)
    assert "\n" not in said


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/x\.yaml: No such file"):
        load(Path("/nowhere/x.yaml"))


def test_variables_are_expanded_after_parsing() -> None:
    text = LEAST.replace("port: 0", 'port: "${PORT:-4242}"') + "log: {level: '${LEVEL:-info}'}"
    assert parse(text, "x", {}).listeners[0].port == 4242
    config = parse(text, "x", {"PORT": "17", "LEVEL": "debug"})
    assert (config.listeners[0].port, config.log.level) == (17, "debug")
    assert "log.level" in problem(text, LEVEL="{level: debug}")


def commented_models() -> dict[str, dict[str, object]]:
    """The examples in config.yaml that are commented out, as if they weren't."""
    lines = (ROOT / "config.yaml").read_text().splitlines()
    blocks = [line.replace("# ", "", 1) for line in lines if re.match(r"  # (?:  )?\w+:", line)]
    shown: dict[str, dict[str, object]] = yaml.safe_load("\n".join(["models:", *blocks]))["models"]
    return shown


@pytest.mark.parametrize(("name", "kind", "examples"), [
    ("mine", VllmModel, {"model", "python"}),
    ("theirs", ServerModel, {"command"}),
])  # fmt: skip
def test_the_examples_name_every_option_with_its_default(
    name: str, kind: type[ServedElsewhere], examples: set[str]
) -> None:
    shown = commented_models()[name]
    text = LEAST + yaml.safe_dump({name: shown}).replace("\n", "\n  ").join(["  ", ""])
    model = parse(text, "x", {}).models[name]
    assert isinstance(model, VllmModel | ServerModel)
    assert isinstance(model, kind)
    assert set(shown) == set(kind.model_fields) - set(Model.model_fields)
    least = kind.model_validate({"backend": model.backend, **{key: getattr(model, key) for key in examples}})
    assert model == least


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("{backend: vllm}", "models.m.model: field required"),
        ("{backend: vllm, model: x, devise: tt}", "models.m.devise: there is no such option"),
        ("{backend: vllm, model: x, device: abacus}", "models.m.device: input should be 'tt', 'cuda' or 'cpu'"),
        ("{backend: server}", "models.m: give either urls or a command"),
        ("{backend: server, urls: [http://x], command: [y]}", "models.m: give either urls or a command"),
        ("{backend: server, urls: [ftp://x]}", "models.m.urls.0: string should match pattern"),
        ("{load: start}", "models.m.backend: field required"),
    ],
)
def test_a_mistake_in_a_model_names_its_option(model: str, complaint: str) -> None:
    assert problem(f"{LEAST}  m: {model}").startswith(f"config.yaml:5: {complaint}")

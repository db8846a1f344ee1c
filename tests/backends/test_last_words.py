from __future__ import annotations

from backends.last_words import last_words

VLLM = """
(EngineCore pid=13709) INFO 11-21 03:55:08 [utils.py:347] Using LBHNC KV cache layout.
(EngineCore pid=13709) ERROR 11-21 03:55:08 [core.py:1510] EngineCore failed to start.
(EngineCore pid=13709) ERROR 11-21 03:55:08 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=13709) ERROR 11-21 03:55:08 [core.py:1510]   File "core.py", line 1482, in run_engine_core
(EngineCore pid=13709) ERROR 11-21 03:55:08 [core.py:1510] ValueError: the KV cache is too small
Process EngineCore:
Traceback (most recent call last):
RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_the_root_cause_comes_before_what_others_made_of_it() -> None:
    assert last_words(VLLM.splitlines()) == "ValueError: the KV cache is too small"


def test_without_an_error_the_last_line_counts() -> None:
    assert last_words(["one", "two", ""]) == "two"
    assert last_words([]) == ""


def test_an_endless_line_is_cut() -> None:
    assert len(last_words(["x" * 10_000])) == 400

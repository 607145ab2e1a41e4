"""YAML means what its reader thinks it means, and no text of it hangs or fills the memory."""

import time

import pytest
import yaml

from lib.utils.yaml_files import dump_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, yes, on, off]", ["no", "yes", "on", "off"]),
        ("[true, False]", [True, False]),
        ("012", 12),
        ("[0o17, 0x1F, +3]", [15, 31, 3]),
        ("190:20:30", "190:20:30"),
        ("1_000", "1_000"),
        ("2026-11-25", "2026-11-25"),
        ("[=, 1e3, 1.5, .5, -.inf]", ["=", 1000.0, 1.5, 0.5, float("-inf")]),
        ("{a: &x {b: 1}, c: {<<: *x, d: 2}}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert read_yaml(text, "it") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{2:1}",
            r"it must be YAML that can be read: '2:1' has no value: write \{2: 1\}, with a space after the colon",
        ),
        ("{[1]: 2}", "a key must be one word or number"),
        ("{a: 1, a: 2}", "key 'a' is given twice"),
        ("&a [*a]", "an alias must not stand for itself"),
        ("!!omap [a: 1]", "could not determine a constructor"),
        (".nan", "a number must be one that a computer can hold"),
        ("1e999", "a number must be one that a computer can hold"),
        ("9" * 5000, "a whole number must have at most 18 digits"),
        ("!!bool x", "it must be true or false; got 'x'"),
        ('"\\ud800"', "a text must have whole characters"),
        ("[" * 5000, "of at most 60 levels"),
        ("[" * 70 + "]" * 70, "at most 60 levels"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_one_line(text, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_yaml(text, "it")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[" * 30_000, '{"a": ' * 30_000, "- " * 30_000])
def test_texts_of_brackets_alone_end_in_an_error_at_once(text):
    started = time.process_time()
    with pytest.raises(ValueError, match="of at most 60 levels"):
        read_yaml(text, "it")
    assert time.process_time() - started < 0.5


def test_aliases_of_aliases_end_in_an_error_at_once():
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 12):
        parts = ", ".join(f"k{key}: *a{level - 1}" for key in range(9))
        lines.append(f"a{level}: &a{level} {{{parts}}}")
    started = time.perf_counter()
    with pytest.raises(ValueError, match="at most 100000 values"):
        read_yaml("\n".join(lines), "bomb.yml")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", ["no", "012", "2:1", "0o17", "1e3", "1_000", "=", "2026-11-25", "null", "", "é"])
def test_written_texts_are_read_back_by_yaml_1_1_and_1_2(text):
    written = dump_yaml({"classes": [text], "other": {text or "x": 1.5}})
    assert read_yaml(written, "it") == {"classes": [text], "other": {text or "x": 1.5}}
    assert yaml.safe_load(written)["classes"] == [text]

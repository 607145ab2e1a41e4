"""Text and JSON are read in every encoding of Unicode; what is wrong with a file is said."""

import re

import pytest

from lib.utils.reading import read_json, read_text


def test_texts_in_utf_16_are_read_and_other_encodings_named(tmp_path):
    file = tmp_path / "a.yml"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        file.write_bytes("names: [é]\n".encode(encoding))
        assert read_text(file, "YAML") == "names: [é]\n"
    file.write_bytes("a: 1\nnames: [划痕]\n".encode("gbk"))
    with pytest.raises(ValueError, match=r"a.yml must be YAML in UTF-8.*got byte 0xbb in line 2"):
        read_text(file, "YAML")
    file.write_bytes("a: 1\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"a.yml must be YAML in UTF-8.*got zero bytes, as in UTF-16 without"):
        read_text(file, "YAML")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_is_read_in_every_encoding_of_unicode(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"é": [1, 2.5, null]}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"é": [1, 2.5, None]}


def test_json_with_more_behind_its_value_brings_the_advice_for_that(tmp_path):
    (tmp_path / "a.json").write_text("{}\n{}\n")
    said = "a.json must be a JSON file; it is not valid JSON (Extra data: line 2 column 1 (char 3)): "
    said += "correct it, or export or download it again"
    for given, end in (("", ""), ("choose another", "; choose another")):
        with pytest.raises(ValueError, match=re.escape(said + end) + "$"):
            read_json(tmp_path / "a.json", given)

"""Lists and XML as tools of other systems and countries write them."""

import pytest

from paploss.trainer.datasets.layouts.texts import read_lines, read_xml
from paploss.trainer.errors import UserError

NAMES = {
    "gb2312": "细胞",
    "gbk": "細胞",
    "gb18030": "细胞",
    "shift_jis": "細胞",
    "euc-kr": "세포",
    "iso-8859-1": "Zellkörper",
}


@pytest.mark.parametrize("encoding", NAMES)
def test_xml_is_read_in_the_encoding_that_it_declares(tmp_path, encoding):
    name = NAMES[encoding]
    (tmp_path / "a.xml").write_bytes(
        f'<?xml version="1.0" encoding="{encoding}"?><a><b>{name}</b></a>'.encode(encoding)
    )
    assert read_xml(tmp_path / "a.xml").findtext("b") == name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="utf-8"?>\n'])
def test_byte_order_marks_go_before_what_is_declared(tmp_path, encoding, declaration):
    (tmp_path / "a.xml").write_bytes(f"{declaration}<a><b>细胞</b></a>".encode(encoding))
    assert read_xml(tmp_path / "a.xml").findtext("b") == "细胞"


def test_what_is_declared_as_gb2312_may_have_letters_of_gbk(tmp_path):
    (tmp_path / "a.xml").write_bytes('<?xml version="1.0" encoding="gb2312"?><a><b>細胞</b></a>'.encode("gbk"))
    assert read_xml(tmp_path / "a.xml").findtext("b") == "細胞"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'<?xml version="1.0" encoding="klingon"?><a/>',
            "declares the encoding 'klingon', which Python does not know",
        ),
        (b'<?xml version="1.0" encoding="utf-8"?><a>\xcf\xcf</a>', "is not in utf-8, as it declares"),
        ("<a>细胞</a>".encode("gbk"), "is not in utf-8, and declares no other encoding"),
        (b"", "not XML"),
        (b"<a>", "not XML"),
    ],
)
def test_xml_that_cannot_be_read_is_named(tmp_path, content, message):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_xml(tmp_path / "a.xml")
    assert str(caught.value).startswith(str(tmp_path / "a.xml"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_lists_are_read_with_marks_and_windows_line_ends(tmp_path, encoding):
    (tmp_path / "train.txt").write_bytes("a1\r\nb2 \r\n\r\nc3".encode(encoding))
    assert read_lines(tmp_path / "train.txt") == ["a1", "b2", "c3"]


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "euc_kr", "cp1252"])
def test_a_list_in_another_encoding_is_read_if_its_names_are_known(tmp_path, encoding):
    name = {"gbk": "细胞", "shift_jis": "さくら", "euc_kr": "세포", "cp1252": "Zellkörper"}[encoding]
    (tmp_path / "train.txt").write_bytes(f"{name}\n".encode(encoding))
    assert read_lines(tmp_path / "train.txt", lambda lines: lines == [name]) == [name]
    with pytest.raises(UserError, match=r"train\.txt: cannot be decoded"):
        read_lines(tmp_path / "train.txt")

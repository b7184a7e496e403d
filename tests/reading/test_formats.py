"""The text of HTML, PDF and Word files, and the place of each part of it."""

import io
import zipfile

import docx
import pytest
from lxml import etree
from office_files import locked, pdf, scanned, word
from pypdf import PageObject, PdfReader
from pypdf.errors import DependencyError

from dokkai.errors import UserError
from dokkai.reading.formats import text_of_html, text_of_pdf, text_of_word

PAGE = """<!DOCTYPE html>
<html><head><title>The lighthouse</title><style>p {}</style></head>
<body>
<h1>Eddy<b>stone</b></h1>
<!-- nothing
to see -->
<p>The first was built
   by <i>Winstanley</i>,
in&nbsp;1698.<br>It fell.</p><script>let x</script>after
<ul><li>one</li><li>two</li></ul>
<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>
<pre>  code
    more</pre>
</body></html>
"""


def test_html():
    text, lines = text_of_html(PAGE.encode())
    assert text == (
        "The lighthouse\n\nEddystone\n\nThe first was built by Winstanley, in 1698.\nIt fell.\n\nafter\n\none\ntwo\n\n"
        "a b\nc\n\n  code\n    more"
    )
    for word_, line in (("lighthouse", 2), ("stone", 4), ("first", 7), ("Winstanley", 8), ("1698", 9), ("more", 13)):
        place = text.index(word_)
        assert next(number for offset, number in reversed(lines) if offset <= place) == line, word_


HIDING = """<p>line 1
<!-- a
comment -->
line 4 <script
async>
x
</script>
line 8 <svg><g
id="a"><text>x
y</text></g>
</svg> line 11
<?php
x ?>
line 14 <pre><!--
--> line 15</pre>
"""


def test_lines_behind_what_is_not_shown():
    text, lines = text_of_html(HIDING.encode())
    for number in (1, 4, 8, 11, 14, 15):
        place = text.index(f"line {number}")
        assert next(line for offset, line in reversed(lines) if offset <= place) == number
    assert not {"comment", "async", "x", "y"} & set(text.split())


def test_what_a_browser_does_not_show():
    page = """<p hidden>a</p><p style="color: red; Display : none">b <i>c</i></p><dialog>d</dialog><video>e</video>
    <dialog open>shown</dialog><datalist><option>f</datalist><canvas>g</canvas><p>too</p>"""
    assert text_of_html(page.encode())[0] == "shown\n\ntoo"


def test_what_stands_side_by_side_is_not_joined():
    page = """<a href=x>Home</a><a href=y>Products</a><button>Yes</button><button>No</button><label>Email<input></label
    ><label>Phone</label><fieldset><legend>Pay</legend>by card</fieldset>H<sub>2</sub>O the 19<sup>th</sup>
    <a>A</a>b<a>c</a>"""
    assert text_of_html(page.encode())[0] == "Home Products Yes No Email Phone\n\nPay\n\nby card\n\nH2O the 19th Abc"


def test_raised_numbers_make_no_other_numbers():
    """A power is said as one; a footnote that leads somewhere is left out."""
    page = """10<sup>30</sup> kg, 5 m<sup>−1</sup>, 14,000<sup><a href=#1>2</a></sup> people<sup><a href=#3>[3]</a></sup
    >. <p style="visibility: hidden">not seen</p>"""
    assert text_of_html(page.encode())[0] == "10^30 kg, 5 m^−1, 14,000 people."
    page = """<sup>1</sup>/<sub>2</sub> cup, 2 <sup>14</sup>C, 5 km<sup><a href=/square>2</a></sup>, 10<sup>1.5</sup>,
    in 1904<a href=#fn1><sup>1</sup></a>; (a+b)<sup> 2 </sup>, <sup>3</sup> a note,
    <a href=#x>part</a> of x<sup>n</sup>"""
    shown = "1/2 cup, 2 14C, 5 km^2, 10^1.5, in 1904; (a+b)^2 , 3 a note, part of xn"
    assert text_of_html(page.encode())[0] == shown


def test_links_side_by_side_are_words_of_their_own_where_words_are():
    page = """彼は<a>日本</a><a>東京都</a>の出身。 See <a>Anna</a><a>Bob</a>. (<a>1904</a><a>–1910</a>)
    un<a name=q></a><a>bar</a> Click <button>OK</button>. <label>A</label>: b"""
    shown = "彼は日本東京都の出身。 See Anna Bob. (1904–1910) unbar Click OK. A: b"
    assert text_of_html(page.encode())[0] == shown


@pytest.mark.parametrize("head", ["", '<meta charset="ISO-8859-1">', "<meta charset=windows-1252>"])
def test_quotes_of_windows(head):
    """As browsers do, who take Latin-1 for Windows-1252."""
    assert text_of_html(f"{head}<p>“Zum Löwen” – 5 €</p>".encode("windows-1252"))[0] == "“Zum Löwen” – 5 €"


def test_a_byte_that_is_nothing_ends_no_text():
    assert text_of_html(b"<p>L\xf6we\x81</p><p>n</p>")[0] == "Löwe\ufffd\n\nn"
    assert text_of_html("<p>Löwe</p>".encode("utf-16"))[0] == "Löwe"


@pytest.mark.parametrize(
    ("said", "codec", "text"),
    [
        ("Shift_JIS", "cp932", "①灯台は髙い。"),
        ("x-sjis", "cp932", "①灯台は髙い。"),
        ("windows-31j", "cp932", "①灯台は髙い。"),
        ("EUC-JP", "euc_jis_2004", "①灯台は高い。"),
        ("iso-2022-jp", "iso2022_jp", "灯台は高い。"),
        ("gb2312", "gbk", "朱镕基說話。"),
        ("euc-kr", "cp949", "똠방각하."),
        ("iso_8859-1", "cp1252", "“Löwe” – 5 €"),
        ("iso-8859-9", "cp1254", "“Ağa” – 5 €"),
        ("undefined", "cp1252", "“Löwe” – 5 €"),
        ("base64", "cp1252", "“Löwe” – 5 €"),
    ],
)
def test_an_encoding_is_as_wide_as_in_browsers(said, codec, text):
    """What a page says is often less than what it holds; what follows such a character is not lost."""
    page = f"<script charset=utf-8></script><meta charset={said}><p>{text}</p><p>n</p>".encode(codec)
    assert text_of_html(page)[0] == f"{text}\n\nn"


def test_a_broken_character_ends_no_page():
    page = "<meta charset=EUC-KR><p>등대".encode("euc-kr") + b"\xff" + "는 높다.</p><p>끝.</p>".encode("euc-kr")
    assert text_of_html(page)[0] == "등대\ufffd는 높다.\n\n끝."


@pytest.mark.parametrize("content", [b"", b"   ", b"<!-- -->", b"<html><body></body></html>", b"<script>x</script>"])
def test_html_without_text(content):
    assert text_of_html(content)[0] == ""


def test_html_in_another_encoding():
    page = '<html><head><meta charset="shift_jis"></head><body><p>灯台は1698年。</p></body></html>'
    assert text_of_html(page.encode("shift_jis"))[0] == "灯台は1698年。"
    assert text_of_html("<p>Müller 灯台</p>".encode())[0] == "Müller 灯台"


def test_word():
    content = word("The lighthouse", "", "It was built\nin 1698.", rows=[("keeper", "Ann"), ("height", "20 m")])
    assert text_of_word(content, "a.docx").split("\n") == [
        "The lighthouse",
        "",
        "It was built in 1698.",
        "keeper Ann",
        "height 20 m",
    ]


def test_all_that_a_word_file_shows():
    """Equal cells, cells that span, tables in tables, changes that were tracked, fields and content controls."""
    document = docx.Document(io.BytesIO(word(rows=[("Anna", "5", "5"), ("both", "", "7"), ("outer", "", "")])))
    table = document.tables[0]
    table.cell(1, 0).merge(table.cell(1, 1))
    inner = table.cell(2, 1).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "in", "ner"

    def run(text):
        return f"<w:r><w:t>{text}</w:t></w:r>"

    name = '<w:sdt xmlns:w="{}"><w:sdtContent><w:p>{}</w:p></w:sdtContent></w:sdt>'
    pieces = [f"<w:ins>{run('new ')}</w:ins>", f"<w:del><w:r><w:delText>old </w:delText></w:r>{run('gone')}</w:del>"]
    pieces += [f"<w:smartTag>{run('smart ')}</w:smartTag>", f"<w:fldSimple>{run('field ')}</w:fldSimple>"]
    pieces += [f"<w:sdt><w:sdtContent>{run('control')}</w:sdtContent></w:sdt>", "<w:r><w:tab/><w:br/></w:r>"]
    pieces.append(f"<w:r><w:pict><w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent></w:pict></w:r>")
    document.element.body.insert(0, etree.fromstring(name.format(docx.oxml.ns.nsmap["w"], "".join(pieces))))
    out = io.BytesIO()
    document.save(out)
    assert text_of_word(out.getvalue(), "a.docx").split("\n") == [
        "new smart field control\t  boxed",
        "Anna 5 5",
        "both 7",
        "outer in ner",
    ]


@pytest.mark.parametrize(
    "ruby", ["灯台<rt>とうだい</rt>", "灯台<rp>(</rp><rt>とうだい</rt><rp>)</rp>", "<rb>灯台</rb><rt>とうだい"]
)
def test_how_words_are_said_stands_above_them_in_html(ruby):
    assert text_of_html(f"<p>この<ruby>{ruby}</ruby>は高い。</p>".encode())[0] == "この灯台は高い。"


def test_how_words_are_said_stands_above_them_in_word():
    """Furigana come before their word in the file."""
    document = docx.Document()
    above = "<w:rt><w:r><w:t>とうだい</w:t></w:r></w:rt>"
    runs = f"<w:ruby><w:rubyPr/>{above}<w:rubyBase><w:r><w:t>灯台</w:t></w:r></w:rubyBase></w:ruby>"
    paragraph = f'<w:p xmlns:w="{docx.oxml.ns.nsmap["w"]}"><w:r>{runs}<w:t>は高い。</w:t></w:r></w:p>'
    document.element.body.insert(0, etree.fromstring(paragraph))
    out = io.BytesIO()
    document.save(out)
    assert text_of_word(out.getvalue(), "a.docx") == "灯台は高い。"


def test_a_file_with_another_content(monkeypatch):
    """What the libraries raise of what they were not made for."""
    for content in (b"<a/>", b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"/>'):
        source, out = zipfile.ZipFile(io.BytesIO(word("x"))), io.BytesIO()
        with zipfile.ZipFile(out, "w") as target:
            for name in source.namelist():
                target.writestr(name, content if name == "word/document.xml" else source.read(name))
        with pytest.raises(UserError, match="not a Word file"):
            text_of_word(out.getvalue(), "a.docx")
    damaged = pdf(["Hello there."]).replace(b"/Length", b"/Filter /Nothing /Length")
    with pytest.raises(UserError, match="a damaged PDF"):
        text_of_pdf(damaged, "a.pdf")


@pytest.mark.parametrize("content", [b"PK\x03\x04 no zip", b"\xd0\xcf\x11\xe0 with a password", b"text"])
def test_no_word_file(content):
    with pytest.raises(UserError, match=r"a\.docx: not a Word file \(\.docx\), damaged, or with a password; save it"):
        text_of_word(content, "a.docx")


def test_pdf():
    """Lines of a paragraph are joined, a word taken apart too; a heading and a short last line end where they end."""
    first = [
        "The Eddystone",
        "The first lighthouse on the rocks was built by Henry Winstan-",
        "ley, who was a merchant and an engineer of many talents, in",
        "the year 1698.",
        "The second was built by John Rudyerd, and it stood for nearly",
    ]
    second = ["fifty years.", "", "The third is by Smeaton."]
    text, lines, pages = text_of_pdf(pdf(first, second), "a.pdf")
    assert lines is None
    assert text.split("\n")[:2] == [
        "The Eddystone",
        "The first lighthouse on the rocks was built by Henry Winstanley, who was a merchant and an engineer of many "
        "talents, in the year 1698.",
    ]
    assert "it stood for nearly fifty years." in text
    names = [
        "The pump was sold to Maria Fernanda Velasquez-",
        "Ortega of Rotterdam and it is a large GX-",
        "440 of steel.",
    ]
    assert (
        text_of_pdf(pdf(names), "a.pdf")[0]
        .strip()
        .endswith("Velasquez-Ortega of Rotterdam and it is a large GX-440 of steel.")
    )
    assert list(pages) == [(0, 1), (text.index("fifty"), 2)]


def test_lines_of_japanese_break_inside_words_in_pdf(monkeypatch):
    lines = [
        "灯台は岬の上に立ち、その光は沖を通る船から見",
        "えた。今の塔は千九百二十年に建てられた、高さが",
        "Fresnelの作ったレンズより大きいものである。",
    ]
    monkeypatch.setattr(PageObject, "extract_text", lambda page: "\n".join(lines))
    joined = f"{lines[0]}{lines[1]} {lines[2]}"
    assert text_of_pdf(pdf(["x"]), "a.pdf")[0].strip() == joined
    lines[:] = ["등대는 곶 위에 서 있고 그 빛은 먼바다를 지나는", "배에서 보였다. 지금의 탑은 새로 지은 것이다."]
    assert text_of_pdf(pdf(["x"]), "a.pdf")[0].strip() == " ".join(lines)


def test_a_pdf_that_every_reader_opens():
    assert "Hello there" in text_of_pdf(locked(pdf(["Hello there."]), ""), "a.pdf")[0]


def test_pdfs_that_cannot_be_read(monkeypatch):
    content = pdf(["Hello there."])
    with pytest.raises(UserError, match=r"a\.pdf: protected by a password; save a copy without one"):
        text_of_pdf(locked(content, "secret"), "a.pdf")
    with pytest.raises(UserError, match=r"a\.pdf: a PDF without text, perhaps scanned; run text recognition \(OCR\)"):
        text_of_pdf(scanned(), "a.pdf")
    for damaged in (b"%PDF-1.4\nnothing", content[:200], content.replace(b"/Pages", b"/Pagse")):
        with pytest.raises(UserError, match=r"a\.pdf: a damaged PDF \(\w+\); fetch or save it again"):
            text_of_pdf(damaged, "a.pdf")

    def decrypt(self, password):
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr(PdfReader, "decrypt", decrypt)
    with pytest.raises(UserError, match=r"a\.pdf: an encrypted PDF; `pip install cryptography`, or save a copy"):
        text_of_pdf(locked(content, ""), "a.pdf")


def test_nothing_but_user_errors_comes_of_damaged_files():
    """Every file cut off anywhere, and with any byte changed in steps."""
    made = {text_of_pdf: pdf(["Hello there."], ["Again."]), text_of_word: word("Hello there.")}
    for read, content in made.items():
        for place in range(0, len(content), 1 + len(content) // 60):
            for damaged in (content[:place], content[:place] + b"\xff" + content[place + 1 :]):
                try:
                    read(damaged, "a")
                except UserError as error:
                    assert str(error).startswith("a: ")

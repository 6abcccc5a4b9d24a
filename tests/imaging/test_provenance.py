from xml.etree import ElementTree

import pytest

from tintlab.imaging.provenance import NAMESPACE, SOURCE_TYPE, Provenance, build_packet, read_packet

ORIGIN = Provenance(
    software="tintlab 1",
    model="models:/tintlab/3",
    model_version="3",
    weights_sha256="ab" * 32,
    saturation="1.5",
)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
SOURCE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="uuid:1"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:own="urn:our:archive:" tiff:Orientation="6" own:shelf="B &lt; 12">
<dc:rights><r:Alt><r:li xml:lang="x-default">© Übersee-Archiv</r:li></r:Alt></dc:rights>
</r:Description></r:RDF></x:xmpmeta><?xpacket end="w"?>"""


def root(packet: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(packet)


def texts(packet: bytes, name: str) -> list[str]:
    return [text for element in root(packet).iter(name) for text in element.itertext() if text.strip()]


def test_what_is_written_is_read() -> None:
    packet = build_packet(ORIGIN)
    assert read_packet(packet) == ORIGIN
    [kind] = texts(packet, "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert kind == SOURCE_TYPE
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf"')
    assert packet.endswith(b'<?xpacket end="w"?>')


def test_the_sources_packet_is_kept_but_for_its_orientation() -> None:
    packet = build_packet(ORIGIN, SOURCE.encode())
    assert texts(packet, f"{DC}rights") == ["© Übersee-Archiv"]
    descriptions = list(root(packet).iter(f"{RDF}Description"))
    assert [one.get(f"{RDF}about") for one in descriptions] == ["uuid:1", "uuid:1"]
    assert descriptions[0].get("{urn:our:archive:}shelf") == "B < 12"
    assert b"Orientation" not in packet
    assert read_packet(packet) == ORIGIN


def test_a_second_colouring_replaces_the_first() -> None:
    newer = Provenance(software="tintlab 2", weights_sha256="cd" * 32)
    packet = build_packet(newer, build_packet(ORIGIN, SOURCE.encode()))
    assert read_packet(packet) == newer
    assert packet.count(b"DigitalSourceType>http") == 1
    assert b"abab" not in packet
    assert texts(packet, f"{DC}rights") == ["© Übersee-Archiv"]


def test_attributes_are_read_as_well_as_elements() -> None:
    packet = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF[1:-1]}">
    <rdf:Description rdf:about="" xmlns:t="{NAMESPACE}" t:WeightsSha256="ab" t:Unknown="1"/>
    </rdf:RDF></x:xmpmeta>"""
    assert read_packet(packet.encode()) == Provenance(weights_sha256="ab")


def test_iptc_becomes_xmp_where_xmp_says_nothing() -> None:
    iptc = {
        (2, 120): ("Am Hafen <1931>",),
        (2, 25): ("Hafen", "Kran"),
        (2, 116): ("someone else",),
        (2, 90): ("Bre\x00men",),
        (2, 219): ("unknown",),
    }
    packet = build_packet(ORIGIN, SOURCE.encode(), iptc)
    assert texts(packet, f"{DC}description") == ["Am Hafen <1931>"]
    assert texts(packet, f"{DC}subject") == ["Hafen", "Kran"]
    assert texts(packet, f"{DC}rights") == ["© Übersee-Archiv"]
    assert texts(packet, f"{PHOTOSHOP}City") == ["Bremen"]


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + SOURCE.split("?>", 1)[1].encode()
DEEP = SOURCE.replace("<dc:rights>", "<dc:rights>" + "<dc:x>" * 5000 + "</dc:x>" * 5000).encode()


@pytest.mark.parametrize(
    "source",
    [b"", b"\0\0", b"no xml", SOURCE.encode()[:300], b"<a/>", BOMB, DEEP, b" " * 5_000_000, b"\xff\xfe" * 50],
    ids=["empty", "zeros", "text", "cut", "no rdf", "entities", "deep", "blank", "binary"],
)
def test_a_packet_that_cannot_be_read_is_left_out(source: bytes) -> None:
    packet = build_packet(ORIGIN, source)
    assert read_packet(packet) == ORIGIN
    assert root(packet).tag == "{adobe:ns:meta/}xmpmeta"


def test_utf16_and_padding_are_read() -> None:
    padded = SOURCE.replace("<?xpacket end", " " * 2000 + "<?xpacket end").encode() + b"\0\0"
    assert texts(build_packet(ORIGIN, padded), f"{DC}rights") == ["© Übersee-Archiv"]
    wide = SOURCE.split("?>", 1)[1].rsplit("<?", 1)[0].encode("utf-16")
    assert texts(build_packet(ORIGIN, wide), f"{DC}rights") == ["© Übersee-Archiv"]


def test_files_of_others_have_no_provenance() -> None:
    assert read_packet(SOURCE.encode()) is None
    assert read_packet(b"") is None

"""Write and read the provenance of a coloured file: XMP (ISO 16684-1), merged into its source's packet.

`Iptc4xmpExt:DigitalSourceType` says that the colours are machine-made, in IPTC's own words (see `SOURCE_TYPE`);
entries that no standard defines are in `NAMESPACE`.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import cast
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from PIL import Image

from tintlab.system.errors import TintlabError

NAMESPACE = "urn:tintlab:provenance:1.0:"

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""A capture combined with the output of a trained model: the lightness is captured, the colours are generated.

`algorithmicallyEnhanced` of IPTC is for corrections that add nothing, so it would not warn a viewer.
"""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_IPTC_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_PREFIXES = {
    _DC: "dc",
    _PHOTOSHOP: "photoshop",
    _IPTC_CORE: "Iptc4xmpCore",
    _IPTC_EXTENSION: "Iptc4xmpExt",
    NAMESPACE: "tintlab",
}
_OF_THE_PIXELS = {
    (_IPTC_EXTENSION, "DigitalSourceType"),
    (_TIFF, "Orientation"),
    (_TIFF, "ImageWidth"),
    (_TIFF, "ImageLength"),
    (_TIFF, "BitsPerSample"),
    (_TIFF, "PhotometricInterpretation"),
    (_EXIF, "PixelXDimension"),
    (_EXIF, "PixelYDimension"),
    (_EXIF, "ColorSpace"),
    (_PHOTOSHOP, "ColorMode"),
    (_PHOTOSHOP, "ICCProfile"),
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = '<?xpacket end="w"?>'
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'
_LARGEST_PACKET = 4 << 20
_FIRST_ENGINE = "torch fp32"

_FROM_IPTC: Mapping[tuple[int, int], tuple[str, str, str]] = {
    (2, 5): (_DC, "title", "Alt"),
    (2, 25): (_DC, "subject", "Bag"),
    (2, 40): (_PHOTOSHOP, "Instructions", ""),
    (2, 55): (_PHOTOSHOP, "DateCreated", ""),
    (2, 80): (_DC, "creator", "Seq"),
    (2, 85): (_PHOTOSHOP, "AuthorsPosition", ""),
    (2, 90): (_PHOTOSHOP, "City", ""),
    (2, 92): (_IPTC_CORE, "Location", ""),
    (2, 95): (_PHOTOSHOP, "State", ""),
    (2, 100): (_IPTC_CORE, "CountryCode", ""),
    (2, 101): (_PHOTOSHOP, "Country", ""),
    (2, 103): (_PHOTOSHOP, "TransmissionReference", ""),
    (2, 105): (_PHOTOSHOP, "Headline", ""),
    (2, 110): (_PHOTOSHOP, "Credit", ""),
    (2, 115): (_PHOTOSHOP, "Source", ""),
    (2, 116): (_DC, "rights", "Alt"),
    (2, 120): (_DC, "description", "Alt"),
    (2, 122): (_PHOTOSHOP, "CaptionWriter", ""),
}
"""The XMP property of each IPTC data set, and the kind of its array, as IPTC's Photo Metadata Standard says."""


@dataclass(frozen=True)
class Provenance:
    """How a coloured file was made. All values are texts; unknown ones are empty.

    Attributes:
        software: tintlab and its version.
        model: as in `models:/tintlab/3`, or `local`.
        model_version: its number in the registry.
        weights_sha256: of the generator's weights.
        training: the fingerprint of the training that made it.
        run_id: of that training in MLflow.
        working_size: see `colorizer.working_shape`.
        saturation: factor on the predicted ab.
        seed: of the noise vector, if there is one.
        variant: its number among those of this seed and source, from 1.
        descan: how fading was evened out, if it was; see `descan.Stretch.text`.
        steps: along directions of the noise, as in `warm +1, sky -0.5`.
        hints: the number of colour hints, and each hint.
        like: of the palette that guided the colours, the start of its sha256.
        source_sha256: of the file that was coloured.
        source_page: its page, if several of its pages are photographs.
        source_form: what stands for its photograph, if that is not the file's own picture; see `photos.Photo`.
        engine: the engine that ran the network, and its precision. Files name it only if it is not `torch
            fp32`, which ran all networks before there was a choice.
    """

    software: str = ""
    model: str = ""
    model_version: str = ""
    weights_sha256: str = ""
    training: str = ""
    run_id: str = ""
    working_size: str = ""
    saturation: str = ""
    seed: str = ""
    variant: str = ""
    descan: str = ""
    steps: str = ""
    hints: str = ""
    like: str = ""
    source_sha256: str = ""
    source_page: str = ""
    source_form: str = ""
    engine: str = _FIRST_ENGINE


def build_packet(
    provenance: Provenance, source: bytes = b"", iptc: Mapping[tuple[int, int], tuple[str, ...]] | None = None
) -> bytes:
    """Build an XMP packet: the provenance, the entries of `source`, and IPTC data sets that it lacks.

    Args:
        provenance: replaces that of an earlier colouring.
        source: the packet of the source; one that can't be read is left out.
        iptc: see `metadata.CaptureMetadata`.
    """
    document = _parse(source)
    if document is not None:
        try:
            return _merge(document, provenance, iptc or {})
        except (ValueError, RecursionError):  # such as elements in elements, thousands deep
            pass
    return _merge(minidom.parseString(_EMPTY), provenance, iptc or {})


def read_packet(packet: bytes) -> Provenance | None:
    """The provenance that an XMP packet holds, or None."""
    document = _parse(packet)
    if document is None:
        return None
    found: dict[str, str] = {}
    for _, name, value in _properties(_rdf(document), NAMESPACE):
        found[name] = value
    known = {one.name: found[_camel(one.name)] for one in fields(Provenance) if _camel(one.name) in found}
    return Provenance(**known) if known else None


def read_provenance(data: bytes) -> Provenance | None:
    """The provenance that a picture file holds, or None.

    Raises:
        TintlabError: the data is not a picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            packet = image.info.get("xmp", b"")
    except Exception as error:  # Pillow raises nearly anything on broken files
        raise TintlabError("not a picture that can be read") from error
    return read_packet(packet if isinstance(packet, bytes) else str(packet).encode())


def _merge(
    document: minidom.Document, provenance: Provenance, iptc: Mapping[tuple[int, int], tuple[str, ...]]
) -> bytes:
    rdf = _rdf(document)
    known = {(space, name) for space, name, _ in _properties(rdf)}
    _remove(rdf, _is_replaced)
    added = document.createElementNS(_RDF, f"{rdf.prefix}:Description" if rdf.prefix else "Description")
    added.setAttributeNS(_RDF, f"{rdf.prefix or 'rdf'}:about", _about(rdf))
    for space, prefix in _PREFIXES.items():
        added.setAttributeNS(_XMLNS, f"xmlns:{prefix}", space)
    rdf.appendChild(added)
    for key, (space, name, array) in _FROM_IPTC.items():
        if key in iptc and (space, name) not in known:
            _add(added, rdf.prefix or "rdf", space, name, array, iptc[key])
    _add(added, "", _IPTC_EXTENSION, "DigitalSourceType", "", [SOURCE_TYPE])
    for name, value in asdict(provenance).items():
        if value and value != _FIRST_ENGINE:
            _add(added, "", NAMESPACE, _camel(name), "", [value])
    root = cast(minidom.Element, document.documentElement)
    text = root.toxml()
    if root is rdf:
        text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{text}</x:xmpmeta>'
    return f"{_BEGIN}{text}{_END}".encode("utf-8", "replace")


def _parse(packet: bytes) -> minidom.Document | None:
    """Parse a packet; None if it is broken, has no RDF, or defines entities."""
    if not packet.startswith((b"\xff\xfe", b"\xfe\xff")):  # in UTF-16 zeros are no padding
        packet = packet.strip(b"\0 \t\r\n")
    if not packet or len(packet) > _LARGEST_PACKET:
        return None
    try:
        document = minidom.parseString(packet)
    except (ExpatError, ValueError, LookupError, RecursionError):
        return None
    if document.doctype is not None or not _all_rdf(document):
        return None
    return document


def _rdf(document: minidom.Document) -> minidom.Element:
    return _all_rdf(document)[0]


def _all_rdf(document: minidom.Document) -> list[minidom.Element]:
    root = cast(minidom.Element, document.documentElement)
    places = [root, *_children(root)]
    return [one for one in places if (one.namespaceURI, one.localName) == (_RDF, "RDF")]


def _children(element: minidom.Element) -> list[minidom.Element]:
    return [child for child in element.childNodes if isinstance(child, minidom.Element)]


def _attributes(element: minidom.Element) -> list[minidom.Attr]:
    return [] if element.attributes is None else list(element.attributes.values())


def _properties(rdf: minidom.Element, wanted: str = "") -> Iterator[tuple[str, str, str]]:
    """Namespace, name and text of each property; only those of the namespace `wanted`, if given."""
    for description in _children(rdf):
        for one in _attributes(description):
            if one.namespaceURI not in (None, _RDF, _XMLNS) and wanted in ("", one.namespaceURI):
                yield one.namespaceURI, one.localName, one.value
        for child in _children(description):
            if child.namespaceURI and wanted in ("", child.namespaceURI):
                texts = (node.data for node in child.childNodes if isinstance(node, minidom.Text))
                yield child.namespaceURI, child.localName, "".join(texts)


def _remove(rdf: minidom.Element, is_unwanted: Callable[[str | None, str | None], bool]) -> None:
    for description in _children(rdf):
        for one in _attributes(description):
            if is_unwanted(one.namespaceURI, one.localName):
                description.removeAttributeNode(one)
        for child in _children(description):
            if is_unwanted(child.namespaceURI, child.localName):
                description.removeChild(child)


def _is_replaced(space: str | None, name: str | None) -> bool:
    """Whether a property is from an earlier colouring, or describes the pixels of the source."""
    return space == NAMESPACE or (space, name) in _OF_THE_PIXELS


def _about(rdf: minidom.Element) -> str:
    # All descriptions of a packet are about the same thing, which need not be the empty name.
    named = (description.getAttributeNS(_RDF, "about") for description in _children(rdf))
    return next(named, "")


def _add(
    description: minidom.Element, rdf: str, space: str, name: str, array: str, texts: Sequence[str]
) -> None:
    """Add a property: a plain text, or an array of one of RDF's kinds (`Alt` is one of languages)."""
    document = cast(minidom.Document, description.ownerDocument)
    element = document.createElementNS(space, f"{_PREFIXES[space]}:{name}")
    description.appendChild(element)
    if not array:
        element.appendChild(document.createTextNode(_clean("; ".join(texts))))
        return
    items = document.createElementNS(_RDF, f"{rdf}:{array}")
    element.appendChild(items)
    for text in ["; ".join(texts)] if array == "Alt" else texts:
        item = document.createElementNS(_RDF, f"{rdf}:li")
        if array == "Alt":
            item.setAttribute("xml:lang", "x-default")
        item.appendChild(document.createTextNode(_clean(text)))
        items.appendChild(item)


def _clean(text: str) -> str:
    """Remove characters that XML does not allow."""
    return "".join(char for char in text if char in "\t\n\r" or " " <= char < "\ud800" or char > "\udfff")


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))

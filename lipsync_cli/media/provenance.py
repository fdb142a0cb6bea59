"""Say in a file that its picture was composed by an algorithm, as IPTC and XMP define it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

# https://cv.iptc.org/newscodes/digitalsourcetype/, the term for a picture that a trained model
# changed in part.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
# XMP in ISO base media files (XMP Specification Part 3, 1.2.7.1).
_XMP_BOX = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_FREE_TAGS = ("matroska", "flv")
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="{source_type}"
    xmp:CreatorTool="{tool}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>
"""


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

    Attributes:
        tool: name and version of the software, such as "lipsync 0.1.0".
        source_type: term of the IPTC vocabulary of digital source types.
    """

    tool: str
    source_type: str = SOURCE_TYPE

    def tags(self, family: str, known: Mapping[str, str]) -> dict[str, str]:
        """Tags that say so, for a container of this family; a comment that is there stays.

        Every container that has tags has a comment; those with free names get one of its own.
        """
        said = f"Picture composed by {self.tool}; digital source type: {self.source_type}"
        comment = next((value for key, value in known.items() if key.lower() == "comment"), "")
        if self.source_type in comment:
            return {}
        tags = {"comment": f"{comment}\n{said}" if comment else said}
        if family in _FREE_TAGS:
            tags["DIGITAL_SOURCE_TYPE"] = self.source_type
        return tags

    def xmp(self) -> bytes:
        """The same as a packet of XMP."""
        return _XMP.format(source_type=self.source_type, tool=self.tool).encode()


def append_xmp(path: Path, provenance: Provenance) -> None:
    """Append the packet to a finished MP4 or QuickTime file, in a box at its end."""
    payload = _XMP_BOX + provenance.xmp()
    with path.open("ab") as handle:
        handle.write((len(payload) + 8).to_bytes(4, "big") + b"uuid" + payload)

"""Cuts a URDF down to its links' names and its joints: `python3 trim.py IN OUT`."""
import sys
import xml.etree.ElementTree as ET

root = ET.parse(sys.argv[1]).getroot()
out = ET.Element("robot", name=root.get("name"))
for element in root:
    if element.tag == "link":
        ET.SubElement(out, "link", name=element.get("name"))
    elif element.tag == "joint":
        out.append(element)
ET.indent(out)
ET.ElementTree(out).write(sys.argv[2], encoding="unicode", xml_declaration=True)

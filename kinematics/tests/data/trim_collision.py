"""Cuts panda_collision.urdf of example-robot-data down to joints and collision shapes.

`python3 trim_collision.py FOLDER_WITH_THE_URDF_FILES` writes panda_collision.urdf beside this script.
"""
import pathlib
import sys
import xml.etree.ElementTree as xml

NAME = "panda_collision.urdf"
KEPT = {"origin", "parent", "child", "axis", "limit", "mimic", "collision"}

tree = xml.parse(pathlib.Path(sys.argv[1]) / NAME)
for element in tree.getroot():
    for part in [part for part in element if part.tag not in KEPT]:
        element.remove(part)
for element in [element for element in tree.getroot() if element.tag not in {"link", "joint"}]:
    tree.getroot().remove(element)
note = xml.Comment(
    " From example-robot-data 6.0.0, Apache-2.0 (LICENSE.panda.Apache-2.0); changed by trim_collision.py: only"
    " joints and collision shapes are left. "
)
tree.getroot().insert(0, note)
xml.indent(tree, "  ")
target = pathlib.Path(__file__).parent / NAME
target.write_text(xml.tostring(tree.getroot(), encoding="unicode") + "\n")

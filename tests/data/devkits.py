"""VOC and COCO as their archives unpack, with a few gray images in them."""

import json

import cv2
import numpy as np

from lib.legacy.classes import COCO, COCO_IDS

HEIGHT, WIDTH = 30, 50
XML = """<annotation><filename>{name}.jpg</filename><size><width>50</width><height>30</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>25</ymax>
</bndbox></object><object><name>person</name><difficult>{difficult}</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>
<xmax>50</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))


def write_devkit(root, year, sets):
    """root/VOC2007 and the like: the last object of each image is difficult. One image more is in no set."""
    folder = root / f"VOC{year}"
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for name, stems in {**sets, None: ["009999"]}.items():
        for stem in stems:
            write_image(folder / "JPEGImages" / f"{stem}.jpg")
            (folder / "Annotations" / f"{stem}.xml").write_text(XML.format(name=stem, difficult=1))
        if name:
            (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def write_coco(root, split):
    """root/train2017 and the like, and its annotations: two images, a dog in each."""
    ids = (9, 12)
    for i in ids:
        write_image(root / split / f"{i:012}.jpg")
    images = [{"id": i, "file_name": f"{i:012}.jpg", "height": HEIGHT, "width": WIDTH} for i in ids]
    box = {"category_id": 18, "bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0}
    objects = [{"id": i, "image_id": i, **box} for i in ids]
    categories = [{"id": COCO_IDS.index(name) + 1, "name": name} for name in COCO]
    content = {"images": images, "annotations": objects, "categories": categories}
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))

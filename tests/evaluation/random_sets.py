"""Small random data sets that meet the corners of an evaluation."""

from __future__ import annotations

import numpy as np


def random_set(seed: int) -> tuple[dict, list[dict]]:
    """A COCO data set and results: crowds, empty images and classes, ties, areas on the bounds."""
    rng = np.random.default_rng(seed)
    num_images, num_classes = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    image_ids = rng.permutation(50)[:num_images] + 1
    category_ids = rng.permutation(20)[:num_classes] + 1
    annotations, results = [], []
    for image_id in image_ids.tolist():
        for _ in range(rng.integers(0, 6)):
            side = rng.choice([6.0, 8.0, 12.0, 16.0, 20.0, 32.0, 96.0, rng.uniform(4, 120)])
            box = [float(value) for value in (*rng.integers(0, 40, 2), side, side)]
            category, crowd = int(rng.choice(category_ids)), int(rng.random() < 0.15)
            annotation = {"image_id": image_id, "category_id": category, "bbox": box, "iscrowd": crowd}
            annotation.update(id=len(annotations) + 1, area=side * side * float(rng.choice([1.0, 1.0, 0.6])))
            annotations.append(annotation)
            for _ in range(rng.integers(0, 3)):  # detections of this object, some of them of another class
                shift = rng.normal(0, 0.1 * side, 4) * rng.integers(0, 2)
                found = np.maximum(np.array(box) + shift, 0).tolist()
                guess = category if rng.random() < 0.8 else int(rng.choice(category_ids))
                results.append({"image_id": image_id, "category_id": guess, "bbox": found})
        for _ in range(rng.integers(0, 4)):
            found = rng.uniform(1, 60, 4).tolist()
            results.append({"image_id": image_id, "category_id": int(rng.choice(category_ids)), "bbox": found})
    for result in results:
        result["score"] = round(float(rng.random()), 1)  # few values: many ties
    rng.shuffle(results)
    coco = {
        "images": [{"id": key, "width": 200, "height": 160} for key in image_ids.tolist()],
        "categories": [{"id": key, "name": f"class {key}"} for key in category_ids.tolist()],
        "annotations": annotations,
    }
    return coco, results

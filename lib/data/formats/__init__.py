"""Annotation formats: COCO JSON, VOC, YOLO and VisDrone files, and the layouts of public data sets."""

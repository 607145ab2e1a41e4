"""The necks by name. A new one is a class in a file of its own and a line here."""

from lib.models.necks.extra_layers import ExtraLayers
from lib.models.necks.fusion import Fusion
from lib.models.necks.pyramid import FeaturePyramid

NECKS = {"extras": ExtraLayers, "fusion": Fusion, "pyramid": FeaturePyramid}

"""The backbones by name. A new one is a table function and a line here."""

from lib.models.backbones.mobilenet import mobilenet_v1, mobilenet_v2
from lib.models.backbones.vgg import vgg16

BACKBONES = {"mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2, "vgg16": vgg16}

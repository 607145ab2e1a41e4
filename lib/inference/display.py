"""Whether a window can be shown."""

import logging
import os
import subprocess
import sys

log = logging.getLogger(__name__)
PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
PROBE_S = 20  # after which a display that does not answer is taken for dead


def has_display() -> bool:
    """Whether a window can be shown. A display that is named but does not answer would end the whole process inside
    OpenCV, so another process tries first.
    """
    if sys.platform in ("darwin", "win32"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_S, check=False)
        is_there = probe.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        is_there = False
    if not is_there:
        log.warning("no window: the display that DISPLAY or WAYLAND_DISPLAY names does not answer")
    return is_there

"""Texts from jinja2 templates. A value that a template names and does not get is an error."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.utils.table import cell_text, markdown


def render(template: Path, **values: Any) -> str:
    """The text of a template file; in HTML every value is escaped unless it is ``Markup``.

    Filters besides jinja2's own: ``cell`` (as in text tables), ``thousands`` (12,345), ``markdown`` (of rows).
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=template.suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell_text, "thousands": "{:,}".format, "markdown": markdown}
    return environment.get_template(template.name).render(values)

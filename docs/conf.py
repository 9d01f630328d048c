"""Sphinx: `make docs` builds these pages strictly, so that a dead link or an unknown reference is an error."""

from importlib.metadata import version as installed_version

project = "paploss"
author = "the paploss developers"
copyright = author  # noqa: A001 (Sphinx's name)
version = release = installed_version("paploss")

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
exclude_patterns = ["build"]
nitpicky = True

html_theme = "furo"
html_title = "paploss"
html_static_path: list[str] = []
html_theme_options = {"footer_icons": []}
html_show_sourcelink = False
html_copy_source = False

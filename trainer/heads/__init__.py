"""Detector heads with ranking losses, as a plug-in of mmdet 3: `custom_imports =
dict(imports=["paploss.trainer.heads"])`.

A module here registers its classes with mmdet when it is imported. All of them are, so a new head is a new file.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

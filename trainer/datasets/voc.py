"""From Pascal VOC to COCO, which `paploss convert-voc` runs."""

from pathlib import Path

from paploss.trainer.datasets.coco import Json
from paploss.trainer.datasets.layouts.pascal_voc import read_voc
from paploss.trainer.datasets.layouts.writing import write_coco


def convert_voc(folder: Path, output: Path, overwrite: bool = False, cache: Path | None = None) -> Json:
    """Writes the Pascal VOC data set in `folder` as COCO below `output`; see `write_coco` and `read_voc`.

    Raises:
        UserError: something is missing, is not VOC's, or lies in the way; the message names the file and the value.
    """
    return write_coco(read_voc(folder, cache), folder, output, overwrite)

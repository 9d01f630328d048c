"""A data set for evaluations that can be counted by hand."""

from pathlib import Path

from paploss.trainer.datasets.coco import CocoSplit


def make_split(*annotations) -> CocoSplit:
    """Boxes as (image, category, box, crowd) on two images."""
    return CocoSplit(
        annotation_file=Path("a.json"),
        image_folder=Path(),
        images=tuple({"id": one, "file_name": "", "width": 200, "height": 200} for one in (3, 5)),
        annotations=tuple(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
            }
            for number, (image, category, box, crowd) in enumerate(annotations, start=1)
        ),
        categories=({"id": 4, "name": "cat"}, {"id": 8, "name": "dog"}),
    )


CAT, DOG = (3, 4, [10, 10, 50, 50], 0), (5, 8, [20, 20, 100, 120], 0)

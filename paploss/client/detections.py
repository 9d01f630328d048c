"""What trainings detected, for one loss or two side by side."""

from pydantic import BaseModel, Field

from paploss.jobs.analysis import AverageRecall, ErrorCost, ErrorKind, KeptPicture, PrecisionCurves


class LossDetections(BaseModel):
    """What trainings with one loss detected; recall, precision and errors are means over those that were analysed."""

    label: str
    trainings: int = Field(description="how many were analysed")
    recall: AverageRecall
    precision: PrecisionCurves
    errors: dict[ErrorKind, ErrorCost]
    trial_id: str = Field(description="the one that is pictured, of a seed that both losses have if there is one")
    seed: int
    threshold: float = Field(description="the score from which on its F1 is highest at IoU 0.5")
    pictures: list[KeptPicture] = Field(description="empty where none are kept, or once they are cleared")


class Detections(BaseModel):
    """Losses of one experiment side by side."""

    labels: list[str] = Field(description="of all losses that were analysed, the best mean reward first")
    losses: list[LossDetections] = Field(description="those asked for; by default the first two")

"""What heads whose boxes are deltas from given ones share, on anchors and on proposals."""

from typing import Any

from paploss.trainer.heads.objective import RankingObjective
from paploss.trainer.heads.quality import DeltaCorners


class DeltaRanking:
    """Gives an mmdet head, named after it among the bases, its ranking loss and what decodes its boxes."""

    objective: RankingObjective
    corners: DeltaCorners

    def build_objective(self: Any, ranking: dict[str, Any]) -> None:
        """To be called when the head is built; `ranking`: arguments of `RankingObjective`.

        Raises:
            ValueError: the head's targets are boxes instead of deltas.
        """
        if self.reg_decoded_bbox:
            raise ValueError("reg_decoded_bbox: expected False, a ranking loss decodes the boxes itself")
        self.objective = RankingObjective(**ranking)
        self.corners = DeltaCorners(self.bbox_coder.means, self.bbox_coder.stds)

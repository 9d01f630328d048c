"""Detector heads with ranking losses, as a plug-in of mmdet 3: `custom_imports = dict(imports=["trainer.heads"])`."""

from trainer.heads.cse_autoloss import CSEAutoLossAClassification, CSEAutoLossBClassification, CSEAutoLossBox
from trainer.heads.retina_head import RankingRetinaHead

__all__ = [
    "CSEAutoLossAClassification",
    "CSEAutoLossBClassification",
    "CSEAutoLossBox",
    "RankingRetinaHead",
]

"""Detector heads with ranking losses, as a plug-in of mmdet 3: `custom_imports = dict(imports=["trainer.heads"])`."""

from trainer.heads.assigner import VectorisedMaxIoUAssigner
from trainer.heads.atss_head import RankingATSSHead
from trainer.heads.balancing import BalancingHook
from trainer.heads.cse_anchor_heads import CSEAutoLossATSSHead, CSEAutoLossRetinaHead
from trainer.heads.cse_autoloss import CSEAutoLossAClassification, CSEAutoLossBClassification, CSEAutoLossBox
from trainer.heads.cse_rcnn_head import CSEAutoLossBBoxHead
from trainer.heads.rcnn_head import IndependentClasses, RankingBBoxHead
from trainer.heads.retina_head import RankingRetinaHead
from trainer.heads.rpn_head import RankingRPNHead

__all__ = [
    "BalancingHook",
    "CSEAutoLossAClassification",
    "CSEAutoLossATSSHead",
    "CSEAutoLossBBoxHead",
    "CSEAutoLossBClassification",
    "CSEAutoLossBox",
    "CSEAutoLossRetinaHead",
    "IndependentClasses",
    "RankingATSSHead",
    "RankingBBoxHead",
    "RankingRPNHead",
    "RankingRetinaHead",
    "VectorisedMaxIoUAssigner",
]

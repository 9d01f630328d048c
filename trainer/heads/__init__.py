"""Detector heads with ranking losses, as a plug-in of mmdet 3: `custom_imports =
dict(imports=["paploss.trainer.heads"])`."""

from paploss.trainer.heads.assigner import VectorisedMaxIoUAssigner
from paploss.trainer.heads.atss_head import RankingATSSHead
from paploss.trainer.heads.balancing import BalancingHook
from paploss.trainer.heads.cse_anchor_heads import CSEAutoLossATSSHead, CSEAutoLossRetinaHead
from paploss.trainer.heads.cse_autoloss import CSEAutoLossAClassification, CSEAutoLossBClassification, CSEAutoLossBox
from paploss.trainer.heads.cse_rcnn_head import CSEAutoLossBBoxHead
from paploss.trainer.heads.rcnn_head import IndependentClasses, RankingBBoxHead
from paploss.trainer.heads.retina_head import RankingRetinaHead
from paploss.trainer.heads.rpn_head import RankingRPNHead

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

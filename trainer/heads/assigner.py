"""mmdet's assignments of candidates to objects: without a wait for the GPU at each object, for any outputs, and with
crowds that stand in for nothing but background.

A candidate that lies in a crowd by more than `ignore_iof_thr` of its area, and has no object, is neither positive nor
negative. mmdet leaves out those that fit an object in the crowd, too: the object is then learned from the best of the
candidates that are left, of which none fits it, and ATSS takes its threshold from them. Where an image shows crowds
alone, mmdet has all candidates in them as background.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult, ATSSAssigner, HungarianAssigner, MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor


@TASK_UTILS.register_module()
class VectorisedMaxIoUAssigner(MaxIoUAssigner):  # type: ignore[misc]
    """A MaxIoUAssigner with the same arguments and results, crowds aside, that looks at all objects at once.

    mmdet's goes through them one by one where candidates of low quality are matched, and reads from the device whether
    each has one.
    """

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **options: Any,
    ) -> AssignResult:
        """Match candidates and objects, arguments as in mmdet."""
        assigned = super().assign(pred_instances, gt_instances, **options)
        return _leave_out_crowds(assigned, pred_instances.priors, gt_instances_ignore, self.ignore_iof_thr)

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Objects and labels of n candidates.

        Args:
            overlaps: IoU of each object with each candidate, `[k, n]`; -1 where a candidate is left out.
            gt_labels: of the objects, `[k]` int64.

        Returns:
            mmdet's result: for each candidate the number of its object from 1, 0 for background, -1 for neither.
        """
        if overlaps.numel() == 0:
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        best, owner = overlaps.max(dim=0)
        lowest, highest = self.neg_iou_thr if isinstance(self.neg_iou_thr, tuple) else (0.0, self.neg_iou_thr)
        numbers = torch.full_like(owner, -1).masked_fill((best >= lowest) & (best < highest), 0)
        numbers = torch.where(best >= self.pos_iou_thr, owner + 1, numbers)
        if self.match_low_quality:
            last = self._last_best_match(overlaps)
            numbers = torch.where(last > 0, last, numbers)
        labels = torch.where(numbers > 0, gt_labels[(numbers - 1).clamp_min(0)], -1)
        return AssignResult(num_gts=len(overlaps), gt_inds=numbers, max_overlaps=best, labels=labels)

    def _last_best_match(self, overlaps: Tensor) -> Tensor:
        """Number from 1 of the last object that has each candidate as its best, `[n]`; 0 for none."""
        best, place = overlaps.max(dim=1, keepdim=True)
        places = torch.arange(overlaps.shape[1], device=overlaps.device)
        is_best = overlaps == best if self.gt_max_assign_all else places == place
        numbers = torch.arange(1, len(overlaps) + 1, device=overlaps.device)[:, None]
        return torch.where(is_best & (best >= self.min_pos_iou), numbers, 0).amax(dim=0)


@TASK_UTILS.register_module()
class CrowdATSSAssigner(ATSSAssigner):  # type: ignore[misc]
    """An ATSSAssigner with the same arguments and results, crowds aside."""

    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: Sequence[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Match candidates and objects, arguments as in mmdet."""
        assigned = super().assign(pred_instances, num_level_priors, gt_instances)
        return _leave_out_crowds(assigned, pred_instances.priors, gt_instances_ignore, self.ignore_iof_thr)


def _leave_out_crowds(
    assigned: AssignResult, candidates: Tensor, crowds: InstanceData | None, threshold: float
) -> AssignResult:
    if crowds is not None and len(crowds.bboxes) and threshold > 0:
        part = bbox_overlaps(candidates, crowds.bboxes, mode="iof").amax(dim=1)
        assigned.gt_inds.masked_fill_((part > threshold) & (assigned.gt_inds == 0), -1)
    return assigned


@TASK_UTILS.register_module()
class FiniteHungarianAssigner(HungarianAssigner):  # type: ignore[misc]
    """A HungarianAssigner with the same arguments and results, to which outputs that are not finite are zeros.

    mmdet's ends a training with an error at the first of them; the loss, which is not finite then, is for the trainer
    to judge.
    """

    def assign(self, pred_instances: InstanceData, gt_instances: InstanceData, **options: Any) -> AssignResult:
        """Match queries and objects, arguments as in mmdet."""
        finite = {name: value.detach().nan_to_num(0.0, 0.0, 0.0) for name, value in pred_instances.items()}
        return super().assign(InstanceData(**finite), gt_instances, **options)

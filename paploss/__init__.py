"""Parameterized AP losses for object detection, and the search for them. See `paploss.losses` and `paploss.client`."""

"""A generated smear under a generated microscope, for demonstration, training and tests."""

from edge.camera.virtual_slide.camera import VirtualSlide
from edge.camera.virtual_slide.conditions import Conditions, Optics, Population, Stain
from edge.camera.virtual_slide.objects import FAB_TYPES, FabType, PlacedObject, SmearObject
from edge.camera.virtual_slide.plane import SmearPlane
from edge.camera.virtual_slide.samples import draw_cell, draw_field

__all__ = [
    "FAB_TYPES",
    "Conditions",
    "FabType",
    "Optics",
    "PlacedObject",
    "Population",
    "SmearObject",
    "SmearPlane",
    "Stain",
    "VirtualSlide",
    "draw_cell",
    "draw_field",
]

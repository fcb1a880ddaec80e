"""Where the evidence could be: windows from frozen features and image labels, before any training.

found = foveal.proposals.mine(images, labels, trunk="resnet18")
print(found)                      # exemplars predict the label of images not used with AUC ...
found.evidence(image)             # Float (h, w)
found.windows(image, k)           # Int (k, 4)
"""

from foveal.proposals.findings import Exemplar, Finding
from foveal.proposals.found import Proposals
from foveal.proposals.mining import mine
from foveal.proposals.trunk import Trunk

__all__ = ["Exemplar", "Finding", "Proposals", "Trunk", "mine"]

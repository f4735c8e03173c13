"""Where data already are: from other libraries to a problem, and from a subset back to them.

`take_kept` and `take_pruned` work on whatever is at hand. The modules beside them each need one
package, an extra of the same name, and are imported by name:

==============================  ==================================================
``integrations.pandas``         frames to examples, a subset as a frame
``integrations.datasets``       Hugging Face `datasets` to examples, a mark on them
``integrations.sklearn``        `Pruner` and `PrunedClassifier`, estimators
``integrations.lightning``      `FeatureCapture`, a callback
==============================  ==================================================
"""

from subsetsel.integrations.take import take_kept, take_pruned

__all__ = ["take_kept", "take_pruned"]

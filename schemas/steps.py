"""In which order the steps of a Build and of a Function are done, their conditions' types: many within one second.

Called by whoever shows them: the page and the command.
"""

STEPS = (
    *("ContextStored", "BuilderChosen", "BaseMoved", "Replaces", "Admitted", "DependenciesInstalled", "Started"),
    *("Retrying", "Pushed", "Attested", "", "Built", "Deployed", "Ready", "Succeeded"),
)
"""Those that are not known here come where "" is."""


def turn(step: str) -> int:
    """Return a step's place among the others."""
    return STEPS.index(step if step in STEPS else "")

"""What is put to a slide: words, a set of classes, examples."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.errors import PromptError
from foundation.examples import Examples
from foundation.prompt_set import PromptSet
from foundation.prompts import checked


@dataclass(frozen=True, slots=True)
class Question:
    """Words, a set of classes and examples; at least one of them.

    Raises:
        PromptError: If nothing is asked, a prompt cannot be meant, or an option has nothing to act on.
    """

    prompts: tuple[str, ...] = ()
    """Each is asked by itself, against the contrast set."""
    unlike: tuple[str, ...] = ()
    """What the prompts do not mean."""
    classes: PromptSet | None = None
    """Classes that are asked against each other."""
    screen: bool = False
    """Choose the wordings of the classes by the slide, without labels."""
    like: Examples = field(default_factory=Examples)
    """Tiles of what is meant."""
    not_like: Examples = field(default_factory=Examples)
    """Tiles of what is not."""

    def __post_init__(self) -> None:
        """Refuse what cannot be asked.

        Raises:
            PromptError: If it cannot.
        """
        if self.prompts or (self.classes is None and not self.like):
            object.__setattr__(self, "prompts", checked(self.prompts))
        if self.unlike:
            object.__setattr__(self, "unlike", checked(self.unlike))
        if self.unlike and not self.prompts:
            raise PromptError("What is not meant needs a prompt; in a prompt set it stands with its class.")
        if self.not_like and not self.like:
            raise PromptError("Examples of what is not meant need an example of what is.")
        if self.screen and self.classes is None:
            raise PromptError("Screening chooses wordings of a prompt set, and there is none.")

    @property
    def has_words(self) -> bool:
        """Whether a text tower, or the closed vocabulary, is needed."""
        return bool(self.prompts) or self.classes is not None

    def words(self) -> tuple[str, ...]:
        """Every phrase that is asked.

        Returns:
            Prompts, then the words of the classes.
        """
        classes = self.classes.classes if self.classes else ()
        return (*self.prompts, *(word for one in classes for word in one.words))

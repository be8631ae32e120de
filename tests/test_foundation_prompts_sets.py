"""Prompt sets are read strictly, prompts in strange writing are refused, and what is not understood is said."""

from __future__ import annotations

import pytest

from foundation import PromptError, Question, read_prompt_set
from foundation.doubts import doubts_of
from foundation.examples import Examples
from foundation.prompt_set import MOST_BYTES, SHIPPED, shipped_set
from foundation.prompts import contrast_set, same_thing, tissue_of, vocabulary_words

TWO = '[[class]]\nname = "tumour"\n[[class]]\nname = "fat"\nbackground = true\n'


def test_a_set_is_read() -> None:
    text = 'title = "T"\ntemplates = ["an image of {}"]\ncontrast = ["glass"]\n' + TWO
    found = read_prompt_set(text + 'synonyms = ["adipocytes", "fat"]\nunlike = ["white matter"]\n')
    assert (found.title, found.templates, found.contrast) == ("T", ("an image of {}",), ("glass",))
    tumour, fat = found.classes
    assert (tumour.words, tumour.unlike, tumour.background) == (("tumour",), (), False)
    assert (fat.words, fat.unlike, fat.background) == (("fat", "adipocytes"), ("white matter",), True)


@pytest.mark.parametrize(
    "text",
    [
        "=",
        TWO,
        'title = "T"\n',
        'title = "T"\nextra = 1\n' + TWO,
        "title = 3\n" + TWO,
        'title = "T"\n[[class]]\nname = "tumour"\n',
        'title = "T"\nclass = 3\n',
        'title = "T"\n' + TWO.replace("fat", "Tumour"),
        'title = "T"\n' + TWO + "colour = 3\n",
        'title = "T"\n' + TWO + "synonyms = [3]\n",
        'title = "T"\n' + TWO + 'synonyms = "fat cells"\n',
        'title = "T"\n' + TWO + 'synonyms = ["\\u001b[31mred"]\n',
        'title = "T"\n' + TWO.replace("true", '"yes"'),
        'title = "T"\n' + TWO.replace('"tumour"\n', '"tumour"\nbackground = true\n'),
        'title = "T"\ntemplates = ["no place"]\n' + TWO,
        'title = "T"\ntemplates = ["{} and {}"]\n' + TWO,
        'title = "T"\ntemplates = ["{}\\u0007"]\n' + TWO,
        "#" * (MOST_BYTES + 1),
        "a = " + "[" * 5000,
    ],
)
def test_a_set_that_is_not_well_formed_is_refused(text: str) -> None:
    with pytest.raises(PromptError):
        read_prompt_set(text)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_sets_can_be_put_to_the_built_in_encoder(name: str) -> None:
    found = shipped_set(name)
    tissues = [{tissue_of(word) for word in one.words} for one in found.classes]
    assert all(len(each) == 1 for each in tissues)
    assert len(set.union(*tissues)) == len(found.classes)
    assert any(one.background for one in found.classes)
    with pytest.raises(PromptError):
        shipped_set("nothing")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("no necrosis", "negation"),
        ("tumour without lymphocytes", "negation"),
        ("absence of mitoses", "negation"),
        ("negative for carcinoma", "negation"),
        ("stroma that isn't fibrotic", "negation"),
        ("more than 10 mitoses", "number"),
        ("few lymphocytes", "number"),
        ("50% tumour", "number"),
    ],
)
def test_what_is_not_understood_is_said_and_not_repeated(prompt: str, said: str) -> None:
    (doubt,) = doubts_of(["tumour", prompt])
    assert said in doubt
    assert doubt.startswith("Prompt 2 ")
    assert prompt not in doubt


def test_names_are_no_negations_or_numbers() -> None:
    names = ["CD8 lymphocytes", "HER-2 positive cells", "nodular infiltrate", "non-small-cell carcinoma", "notochord"]
    assert doubts_of(names) == ()
    ours = [*contrast_set().contrast, *(word for terms in vocabulary_words().values() for word in terms)]
    assert doubts_of(ours) == ()


def test_a_prompt_is_not_weighed_against_itself_under_another_name() -> None:
    assert same_thing("Fat", "adipose tissue")
    assert same_thing("a mitosis", "mitosis")
    assert not same_thing("mitosis", "meiosis")
    assert not same_thing("fat", "muscle")


def test_a_question_asks_something() -> None:
    asked = read_prompt_set('title = "T"\n' + TWO)
    example = Examples(tiles=(1,))
    for wrong in (
        {},
        {"unlike": ("fat",)},
        {"classes": asked, "unlike": ("fat",)},
        {"prompts": ("fat",), "screen": True},
        {"prompts": ("fat",), "not_like": example},
        {"prompts": ("",), "like": example},
    ):
        with pytest.raises(PromptError):
            Question(**wrong)
    assert Question(like=example).words() == ()
    assert Question(prompts=("a  b",), classes=asked).words() == ("a b", "tumour", "fat")

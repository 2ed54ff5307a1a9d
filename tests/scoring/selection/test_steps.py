"""Selections in words."""

import datasets
import pytest

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.storage import save_result
from scoring.selection import STRATEGIES
from scoring.selection.cherry import Cherry
from scoring.selection.random_rows import LengthMatchedRandom, RandomRows
from scoring.selection.refusals import Refusals
from scoring.selection.selective import Selective
from scoring.selection.steps import parse_steps, step_of
from scoring.selection.superfilter import Superfilter


def strategies(*texts, **settings):
    return [step.strategy for step in parse_steps(texts, settings)]


class TestOptions:
    def test_several_steps_are_read_in_their_order(self):
        steps = parse_steps(["refusals", "superfilter fraction=0.2", "random count=5 seed=3"], {})
        assert [step.name for step in steps] == ["refusals", "superfilter", "random"]
        expected = [Refusals(), Superfilter(fraction=0.2), RandomRows(count=5, seed=3)]
        assert [step.strategy for step in steps] == expected

    @pytest.mark.parametrize(
        ("text", "like"),
        [
            ("like='runs/my selection'", "runs/my selection"),
            ('like="runs/my selection"', "runs/my selection"),
            (r"like=runs/my\ selection", "runs/my selection"),
            ("like=a=b", "a=b"),
            ("like=007", "7"),
            ("like=[x]/y", "[x]/y"),
            ("like=@home", "@home"),
        ],
    )
    def test_are_quoted_as_in_a_shell(self, text, like):
        assert strategies(f"length_matched_random {text}") == [LengthMatchedRandom(like=like)]

    def test_are_read_as_yaml(self):
        assert strategies("selective require_reflected_response=false") == [Selective(False)]
        assert strategies("cherry fraction=1 group_by=source_id") == [Cherry(fraction=1.0, group_by="source_id")]
        assert strategies("cherry fraction=.5 group_by=null") == [Cherry(fraction=0.5)]
        assert isinstance(strategies("superfilter fraction=1")[0].fraction, float)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("superfliter count=1", "--strategy 'superfliter' is unknown; did you mean superfilter?"),
            ("xyz", "--strategy 'xyz' is unknown; the strategies are selective, recycled, "),
            ("", "--strategy '' is unknown; the strategies are "),
            ("random 'seed=3", '--strategy "random \'seed=3": cannot be read (No closing quotation)'),
            ("random seed", "--strategy 'random seed': 'seed' is no OPTION=VALUE"),
            ("random count=1 sed=3", "strategy random: unknown option 'sed'; it takes fraction, count, seed"),
            ("refusals count=1", "strategy refusals: unknown option 'count'; it takes none"),
            ("random =3", "strategy random: unknown option ''; it takes fraction, count, seed"),
            ("random reads=3 count=1", "strategy random: unknown option 'reads'; it takes fraction, count, seed"),
            ("random count=few", "strategy random: count 'few': must be int or null"),
            ("random count=1.5", "strategy random: count 1.5: must be int or null"),
            ("random count=true", "strategy random: count True: must be int or null"),
            ("random count=", "strategy random: count '': must be int or null"),
            ("random count=0", "strategy random: count 0: must be at least 1"),
            ("random fraction=1.5", "strategy random: fraction 1.5: must be above 0 and at most 1"),
            ("random fraction=0.5 count=3", "strategy random: give either fraction or count"),
            ("random", "strategy random: give either fraction or count"),
            (
                "selective require_reflected_response=2",
                "strategy selective: require_reflected_response 2: must be bool",
            ),
            ("cherry count=1 ratio=x", "strategy cherry: ratio 'x' is unknown; the ratios are loss, ppl"),
            ("selectit count=1 level=x", "strategy selectit: level 'x' is unknown; the levels are token, sentence"),
            ("longest count=1 unit=x", "strategy longest: unit 'x' is unknown; it is tokens or characters"),
            ("sifd count=1 informative=0", "strategy sifd: informative 0.0: must be above 0 and at most 1"),
            ("iterit count=1 decay=1.5", "strategy iterit: decay 1.5: must be from 0 to 1"),
            ("length_matched_random", "strategy length_matched_random: like: name the folder"),
            ("pre_experience clusters=0", "strategy pre_experience: clusters 0: must be at least 1"),
            ("pre_experience per_cluster=0", "strategy pre_experience: per_cluster 0: must be at least 1"),
            ("pre_experience low=80", "strategy pre_experience: low 80, high 75: must be percentiles"),
            ("pre_experience high=101", "strategy pre_experience: low 25, high 101: must be percentiles"),
        ],
    )
    def test_that_are_wrong_are_refused_in_one_line(self, text, message):
        with pytest.raises(BadInputError) as caught:
            strategies(text)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)

    def test_there_must_be_a_step(self):
        with pytest.raises(BadInputError, match="--strategy: name one; the strategies are selective, "):
            parse_steps([], {})

    @pytest.mark.parametrize("name", [name for name in STRATEGIES if "count" in STRATEGIES[name].__dataclass_fields__])
    def test_a_number_of_rows_is_asked_of_every_strategy_that_takes_one(self, name):
        with pytest.raises(BadInputError, match=f"^strategy {name}: give either fraction or count$"):
            strategies(name)


class TestSettings:
    def test_go_to_the_last_step_that_takes_them(self):
        found = strategies("random fraction=0.5", "superfilter", "refusals", count=3, seed=7)
        assert found == [RandomRows(fraction=0.5, seed=7), Superfilter(count=3), Refusals()]
        assert strategies("random count=3", "random count=2", seed=7) == [
            RandomRows(count=3),
            RandomRows(count=2, seed=7),
        ]

    def test_do_not_touch_what_a_step_sets_itself(self):
        found = strategies("random count=3", "random count=2 seed=1", seed=7)
        assert found == [RandomRows(count=3, seed=7), RandomRows(count=2, seed=1)]

    def test_give_no_fraction_to_a_step_that_has_a_count(self):
        found = strategies("superfilter", "random count=2", fraction=0.5)
        assert found == [Superfilter(fraction=0.5), RandomRows(count=2)]

    @pytest.mark.parametrize(
        ("texts", "settings", "message"),
        [
            (["refusals"], {"count": 3}, "--count 3: no step of --strategy takes it"),
            (
                ["random count=2"],
                {"fraction": 0.5},
                "--fraction 0.5: no step of --strategy takes it, or all that do have",
            ),
            (["random count=2"], {"count": 3}, "--count 3: no step of --strategy takes it, or all that do have"),
            (["random"], {"fraction": 0.5, "count": 3}, "--fraction and --count: give one of the two"),
            (["superfilter count=2"], {"seed": 3}, "--seed 3: no step of --strategy takes it"),
            (["recycled"], {"require_reflected_response": False}, "--require_reflected_response False: no step"),
        ],
    )
    def test_that_nobody_takes_are_refused(self, texts, settings, message):
        with pytest.raises(BadInputError) as caught:
            parse_steps(texts, settings)
        assert str(caught.value).startswith(message)


class TestView:
    @pytest.mark.parametrize(
        "text",
        ["selective", "refusals", "cherry fraction=0.05 group_by=source_id", "length_matched_random like=x seed=2"],
    )
    def test_is_read_back_as_the_same_step(self, text):
        (step,) = parse_steps([text], {})
        assert step_of(step.view()) == step

    def test_holds_all_options(self):
        (step,) = parse_steps(["random count=3"], {})
        assert step.view() == {"name": "random", "fraction": None, "count": 3, "seed": 0}


class TestInputs:
    def test_are_none_where_a_step_looks_at_the_rows_alone(self):
        assert parse_steps(["random count=3"], {})[0].inputs() == {}

    def test_are_the_selection_that_is_to_be_matched(self, tmp_path):
        kept = datasets.DatasetDict(selected=datasets.Dataset.from_dict({"output": ["x"]}))
        save_result(tmp_path / "earlier", kept, [StepRecord("select", 1, {}, {})])
        (step,) = parse_steps([f"length_matched_random like={tmp_path / 'earlier'}"], {})
        assert step.inputs()["like"].location == str(tmp_path / "earlier")

    def test_that_are_not_there_are_refused(self, tmp_path):
        (step,) = parse_steps([f"length_matched_random like={tmp_path / 'nothing'}"], {})
        with pytest.raises(BadInputError, match=r"like .*nothing"):
            step.inputs()

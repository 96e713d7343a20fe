"""Planning: faults before spending, and fingerprints that change exactly when the result could."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe

pytestmark = pytest.mark.usefixtures("acme_lab")


def plan(path, *overrides):
    return make_plan(load_recipe(path, overrides), Registry.discover())


def failure(path, *overrides):
    with pytest.raises(RecipeError) as caught:
        plan(path, *overrides)
    return caught.value.problems


def fingerprints(path, *overrides):
    stages = plan(path, *overrides).stages.values()
    return {stage.id: stage.fingerprint for stage in stages}, {stage.id: stage.scores_fingerprint for stage in stages}


def changed(before, after):
    return {key for key in before if before[key] != after[key]}


def test_every_stage_route_and_package_is_resolved(recipe_file):
    planned = plan(recipe_file())
    assert list(planned.stages) == ["base", "sft", "teacher-math", "teacher-code", "student"]
    assert planned.stages["student"].routes == {"math": "math", "code": "code"}
    assert planned.stages["sft"].options["reward"] == {"use": "collegium/domain-verifier", "options": {}}
    assert {entry.record.distribution for entry in planned.entries.values()} == {"collegium", "acme-lab"}


def test_the_same_recipe_has_the_same_fingerprints(recipe_file):
    assert fingerprints(recipe_file()) == fingerprints(recipe_file())


def test_changing_one_teacher_changes_it_and_the_student_only(recipe_file):
    before, _ = fingerprints(recipe_file())
    after, _ = fingerprints(recipe_file(("for_each: domain,", "for_each: domain, per: {math: {steps: 9}},")))
    assert changed(before, after) == {"teacher-math", "student"}


@pytest.mark.parametrize("override", ["seed=6", "threads=2"])
def test_what_every_stage_depends_on_changes_every_stage(recipe_file, override):
    before, _ = fingerprints(recipe_file())
    assert changed(before, fingerprints(recipe_file(), override)[0]) == set(before)


def test_what_judging_depends_on_leaves_stages_that_do_not_judge_alone(recipe_file):
    before, scores_before = fingerprints(recipe_file())
    after, _ = fingerprints(recipe_file(), "errors.budget=0.5")
    assert changed(before, after) == set(before) - {"base"}
    both = ("math: {task: toy, verifier: exact}", "math: {task: toy, verifier: {use: exact, strict: true}}")
    after, scores_after = fingerprints(recipe_file(both))
    assert changed(before, after) == {"sft", "teacher-math", "teacher-code", "student"}  # sft trains on math and judges
    assert "base" in changed(scores_before, scores_after)


@pytest.mark.parametrize("override", ["name=other", "checkpoint_every=3", "executor=local", "admission.margin=0.5"])
def test_what_cannot_change_a_result_changes_no_fingerprint(recipe_file, override):
    assert fingerprints(recipe_file()) == fingerprints(recipe_file(), override)


def test_changing_the_evaluation_changes_scores_but_no_artifact(recipe_file):
    before, scores_before = fingerprints(recipe_file())
    after, scores_after = fingerprints(recipe_file(), "evaluation.limit=1")
    assert before == after
    assert changed(scores_before, scores_after) == set(scores_before)


def test_changed_code_of_a_package_changes_what_uses_it(recipe_file, acme_lab, make_plugin):
    before, _ = fingerprints(recipe_file())
    code = "import sys\nfrom pathlib import Path\nfrom collegium.planning import make_plan\n" \
        "from collegium.plugins import Registry\nfrom collegium.recipe import load_recipe\nimport json\n" \
        "stages = make_plan(load_recipe(sys.argv[1]), Registry.discover()).stages\n" \
        "print(json.dumps({name: stage.fingerprint for name, stage in stages.items()}))"  # fmt: skip
    folder = acme_lab()
    (folder / "stages.py").write_text((folder / "stages.py").read_text() + "\n# another line\n")
    done = subprocess.run([sys.executable, "-c", code, str(recipe_file())], capture_output=True, text=True, check=True)
    assert changed(before, json.loads(done.stdout)) == set(before)


def test_changed_data_changes_what_trains_on_it(recipe_file, tmp_path):
    data = tmp_path / "math.jsonl"
    data.write_text("one")
    path = recipe_file(("math: {task: toy", f"math: {{task: {{use: toy, file: {data}}}"))
    before, _ = fingerprints(path)
    data.write_text("other")
    after, _ = fingerprints(path)
    assert changed(before, after) == set(before)  # every stage but a code-only one trains on math, or follows one


def test_changed_file_of_an_option_changes_the_stage(recipe_file, tmp_path):
    data = tmp_path / "demos.jsonl"
    data.write_text("one")
    path = recipe_file(("{use: make}", f"{{use: make, data: {data}}}"))
    before, _ = fingerprints(path)
    data.write_text("other")
    assert changed(before, fingerprints(path)[0]) == set(before)


@pytest.mark.parametrize(
    ("old", "new", "line", "owner", "words", "fix"),
    [
        ("{use: make}", "{use: make, stps: 1}", 8, "acme-lab", "stages.base.stps: unknown key 'stps'", "'steps'"),
        ("{use: make}", "{use: make, inner: {wdth: 1}}", 8, "acme-lab", "inner.wdth: unknown key", "'width'"),
        ("{use: make}", "{use: make, steps: x}", 8, "acme-lab", "stages.base.steps: Input should be", ""),
        ("{use: make}", "{use: make, init_frm: x}", 8, "acme-lab", "unknown key 'init_frm'", "'init_from'"),
        ("{use: make}", "{use: mak}", 8, None, "unknown stage 'mak'", "'make'"),
        ("{use: make}", "{use: gone-pkg/make}", 8, "gone-pkg", "'gone-pkg' is not installed", "pip install gone-pkg"),
        ("task: toy, verifier: exact}\n  code", "task: tou, verifier: exact}\n  code", 5, None, "unknown task 'tou'", "'toy'"),
        ("task: toy, verifier: exact}\n  code", "task: toy, verifier: other}\n  code", 5, "acme-lab", "cannot judge", "exact"),
        ("init_from: sft, teachers", "teachers", 11, "acme-lab", "needs the edge `init_from`", "add `init_from:`"),
        ("{use: make}", "{use: make, reference: sft}", 8, "acme-lab", "takes no `reference`", ""),
        ("{use: make}", "{use: make, init_from: student}", 8, None, "in a cycle: ", "break one edge"),
        ("teachers: {from: teacher}", "teachers: {math: self}", 11, "acme-lab", "domain 'code' goes to code, which is no", "self"),
        ("seed: 5", "requires: [no-such-package>=1]", 3, "no-such-package", "is not installed", "pip install 'no-such-package>=1'"),
        ("seed: 5", "requires: ['acme-lab>=2']", 3, "acme-lab", "acme-lab 1.0 is installed, >=2 is expected", "pip install"),
        ("seed: 5", "requires: ['what is this']", 3, None, "is no requirement", ""),
        ("seed: 5", "executor: locl", 3, None, "unknown executor 'locl'", "'local'"),
        ("verifier: exact}\n  code", "verifier: exact}\n  code-x/y", 6, None, "should match pattern", ""),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_owner_and_fix(recipe_file, old, new, line, owner, words, fix):
    path = recipe_file((old, new))
    problem = next((p for p in _failure_of_any_phase(path) if words in str(p)), None)
    assert problem is not None, [str(p) for p in _failure_of_any_phase(path)]
    assert str(problem.where) == f"{path}:{line}"
    assert problem.owner == owner
    assert fix in problem.fix


def _failure_of_any_phase(path):
    with pytest.raises(RecipeError) as caught:
        plan(path)
    return caught.value.problems


def test_faults_of_all_stages_come_at_once(recipe_file):
    path = recipe_file(("{use: make}", "{use: make, stps: 1}"), ("teacher: {use: tune", "teacher: {use: tun"))
    text = "\n".join(map(str, failure(path)))
    assert "stps" in text
    assert "'tun'" in text


def test_a_missing_data_file_is_a_fault_of_its_domain(recipe_file):
    path = recipe_file(("math: {task: toy", "math: {task: {use: toy, file: /nowhere/x.jsonl}"))
    problem = failure(path)[0]
    assert "domains.math.task" in problem.what
    assert "/nowhere/x.jsonl" in problem.what
    assert problem.owner == "acme-lab"


def test_data_and_models_are_not_mixed_up(recipe_file):
    path = recipe_file(
        ("  student", "  rows: {use: collect, generate_from: sft}\n  odd: {use: tune, init_from: rows}\n  student")
    )
    assert "'rows' leaves a data, which `init_from` cannot take" in failure(path)[0].what


def test_a_stage_with_a_reward_takes_reward_models_and_one_without_does_not(recipe_file):
    path = recipe_file(("  student", "  more: {use: tune, init_from: sft, reward_models: [sft, base]}\n  student"))
    assert plan(path).stages["more"].node.inputs["reward_models"] == ["sft", "base"]
    path = recipe_file(("base: {use: make}", "base: {use: make}\n  odd: {use: make, reward_models: sft}"))
    assert "takes no `reward_models`" in failure(path)[0].what


REWARDS = """
from collegium import component, hookimpl

@hookimpl
def register_rewards():
    return [component(name, "acme_rewards.none:X", "A reward.", config=f"acme_rewards.configs:{name.title()}Config")
            for name in ("model", "wrap", "mix", "plain")]
"""
REWARD_CONFIGS = """
from collegium import Config, Use, UseReward
from collegium.kinds.reward import RewardConfig

class ModelConfig(RewardConfig):
    count: int = 1
    def models_needed(self):
        return self.count

class WrapConfig(RewardConfig):
    reward: UseReward = Use(use="domain-verifier")

class PlainConfig(Config):
    inner: list[UseReward] = []

class Part(Config):
    reward: UseReward
    models: list[int] = []

class MixConfig(RewardConfig):
    parts: dict[str, Part]
    def models_needed(self):
        return len({place for part in self.parts.values() for place in part.models})
"""
MIX = "{use: mix, parts: {a: {reward: {use: model, count: 2}, models: [0, 1]}, b: {reward: model, models: [1]}}}"


@pytest.mark.parametrize(
    ("reward", "needed"),
    [
        ("model", 1),
        ("{use: wrap, reward: {use: model, count: 3}}", 3),
        ("{use: wrap, reward: {use: wrap, reward: model}}", 1),
        (f"{{use: wrap, reward: {MIX}}}", 2),
        (f"{{use: plain, inner: [domain-verifier, {MIX}]}}", 2),
    ],
)
def test_reward_models_are_counted_however_deep_the_reward_that_scores_with_them_is(
    recipe_file, make_plugin, reward, needed
):
    make_plugin("acme-rewards", plugin=REWARDS, configs=REWARD_CONFIGS)

    def recipe(given):
        models = ", ".join(["sft"] * given)
        more = f"  more: {{use: tune, init_from: sft, reward: {reward}, reward_models: [{models}]}}\n  student"
        return recipe_file(("  student", more))

    plan(recipe(needed))
    for given in (0, needed + 1):
        problem = failure(recipe(given))[0]
        assert f"stages.more.reward: scores with {needed} reward models, found {given}" in problem.what
        assert problem.owner == "acme-rewards"


def test_a_wrapped_reward_that_needs_no_models_needs_none(recipe_file, make_plugin):
    make_plugin("acme-rewards", plugin=REWARDS, configs=REWARD_CONFIGS)
    plan(recipe_file(("  student", "  more: {use: tune, init_from: sft, reward: wrap}\n  student")))


def test_two_packages_with_one_name_are_a_fault_that_names_both(recipe_file, make_plugin):
    make_plugin(
        "acme-twin",
        plugin="from collegium import component, hookimpl\n@hookimpl\ndef register_stages():\n"
        "    return [component('make', 'x:Y', 'A twin.')]",
    )
    problem = failure(recipe_file())[0]
    assert "acme-lab/make or acme-twin/make" in problem.what


def test_a_broken_plugin_fails_only_the_recipe_that_needs_it(recipe_file, make_plugin):
    make_plugin("acme-broken", plugin="raise ValueError('broken at import')")
    plan(recipe_file())
    problem = failure(recipe_file(("{use: make}", "{use: acme-broken/make}")))[0]
    assert "broken at import" in problem.what
    assert problem.owner == "acme-broken"


def cli(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "collegium", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def test_the_command_prints_stages_routes_packages_and_changes_nothing(recipe_file, tmp_path):
    path = recipe_file()
    before = sorted(tmp_path.rglob("*"))
    done = cli("plan", path, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert [stage["id"] for stage in described["stages"]][-1] == "student"
    assert described["stages"][-1]["routes"] == {"math": "math", "code": "code"}
    assert not any(stage["cached"] for stage in described["stages"])
    assert {package["distribution"] for package in described["packages"]} == {"collegium", "acme-lab"}
    assert [p for p in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(p)] == [
        p for p in before if "__pycache__" not in str(p)
    ]
    text = cli("plan", path, cwd=tmp_path).stdout
    for word in ("student", "teacher-math", "acme-lab/distil", "to run", "by", "1.0"):
        assert word in text


def test_bad_input_is_one_message_and_exit_code_2(recipe_file, tmp_path):
    done = cli("plan", recipe_file(("{use: make}", "{use: make, stps: 1}")), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "toy.yaml:8" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_planning_imports_no_torch(recipe_file, tmp_path):
    code = (
        "import sys\nfrom collegium.cli.main import cli\ncli.main(['plan', sys.argv[1]], standalone_mode=False)\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe_file())], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip().endswith("HEAVY []"), done.stdout + done.stderr

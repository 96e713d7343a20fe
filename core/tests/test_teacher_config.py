"""What a teacher's options tell the run before the teacher is asked."""

from __future__ import annotations

from collegium import TeacherConfig
from collegium.builtin_components.configs import CheckpointTeacherConfig


def test_a_teacher_that_says_nothing_cannot_be_evaluated_here():
    assert TeacherConfig().local_model() is None
    assert TeacherConfig().tokenizer_folder() is None


def test_a_checkpoint_is_evaluated_and_its_tokenizer_compared():
    config = CheckpointTeacherConfig(path="models/law")
    assert (config.local_model(), config.tokenizer_folder()) == ("models/law", "models/law")


def test_a_tokenizer_may_lie_apart_from_the_weights():
    class Remote(TeacherConfig):
        tokenizer: str

        def tokenizer_folder(self) -> str:
            return self.tokenizer

    remote = Remote(tokenizer="models/tokenizer")
    assert (remote.local_model(), remote.tokenizer_folder()) == (None, "models/tokenizer")

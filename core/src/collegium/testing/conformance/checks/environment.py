"""Checks of environments: replies are text or the end, the same again, whatever the model writes."""

from __future__ import annotations

from collegium.environment_host import Answer
from collegium.job import ErrorPolicy
from collegium.kinds.environment import Episode
from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import hosted, tasks_of
from collegium.testing.conformance.inputs import HOSTILE
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject
from collegium.verdict import Error

TURNS = ("", "4", "what?", *HOSTILE.values())


@check("environment")
def replies_to_anything(subject: Subject) -> None:
    """Whatever a model writes, hostile text too, gets a reply of text or the end of the episode, in time."""
    for answer, text in zip(answers(subject), TURNS, strict=True):
        problem = answer.reason if isinstance(answer, Error) else ""
        require(not problem, f"to {text[:40]!r} it fails: {problem}")


@check("environment")
def equal_episodes_get_equal_replies(subject: Subject) -> None:
    """A second episode of the same task and turns goes like the first."""
    first, second = answers(subject), answers(subject)
    require(first == second, "two episodes of one task got different replies")


@check("environment")
def episodes_apart(subject: Subject) -> None:
    """Turns of one episode change nothing in another one that is open at the same time."""
    host, task = hosted(subject.shared, ErrorPolicy(budget=1.0)), tasks_of(subject)[0]
    opened(subject)
    episodes = [each for each in host.open([task, task]) if isinstance(each, Episode)]
    require(len(episodes) == 2, "two episodes of one task cannot be open at the same time")
    for text in TURNS:
        host.reply([(episodes[0], text)])
    later = host.reply([(episodes[1], TURNS[1])])
    alone = host.open([task])
    host.close(episodes)
    require(isinstance(alone[0], Episode), "no episode can be opened after others")
    if isinstance(alone[0], Episode):
        expected = host.reply([(alone[0], TURNS[1])])
        host.close([alone[0]])
        require(later == expected, "what is said in one episode changes the replies of another one")


def answers(subject: Subject) -> list[Answer]:
    """Return the reply to each hostile turn, each the first of an episode of its own."""
    opened(subject)
    host, task = hosted(subject.shared, ErrorPolicy(budget=1.0)), tasks_of(subject)[0]
    found: list[Answer] = []
    for text in TURNS:
        (episode,) = host.open([task])
        if isinstance(episode, Error):
            found.append(episode)
            continue
        found += host.reply([(episode, text)])
        host.close([episode])
    return found


def opened(subject: Subject) -> None:
    """Leave a check out where no episode can be opened of the task that the kit has.

    Raises:
        NotApplicable: If there are no cases, and the environment needs more than any task has.
    """
    host = hosted(subject.shared, ErrorPolicy(budget=1.0))
    (episode,) = host.open([tasks_of(subject)[0]])
    if isinstance(episode, Episode):
        host.close([episode])
    elif not subject.cases:
        raise NotApplicable(f"without cases no episode opens: {episode.reason}")
